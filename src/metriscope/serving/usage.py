"""How to use an exported model: the sections of its card with code, for Metriscope and for ONNX Runtime."""

import re

from metriscope.serving.embedder import Embedder
from metriscope.serving.onnx import NEIGHBOURS, OUTPUT, TIE, Check, input_name
from metriscope.serving.recipe import pixels_code
from metriscope.serving.stored import GRAPH

_PYTHON = """import metriscope

model = metriscope.load("FOLDER")
"""
_HEADING = "## How to use it\n\nFOLDER is the one that holds this file"


def noun(model: Embedder) -> str:
    """What a model reads."""
    if model.described.sides is not None:
        return f"pairs of vectors ({' and '.join(model.described.sides)})"
    return "images" if model.preparation.of_images else "vectors"


def usage(model: Embedder) -> str:
    """How to embed and to search."""
    if model.described.sides is not None:
        first, second = model.described.sides
        python = (
            f'{_PYTHON}gallery = model.embed({second}, side="{second}")\n'
            f'print(model.search(model.embed({first}, side="{first}"), gallery, k=5).indices)'
        )
        return f"{_HEADING}; `{first}` and `{second}` are arrays (N, F).\n\n{fenced(python, 'python')}"
    if not model.preparation.of_images:
        python = f"{_PYTHON}embeddings = model.embed(vectors).embeddings"
        return f"{_HEADING}, `vectors` an array (N, F).\n\n{fenced(python, 'python')}"
    python = f'{_PYTHON}gallery = model.embed("photos/")\nprint(model.search("query.jpg", gallery, k=5).paths)'
    search = "metriscope search FOLDER query.jpg photos/ -k 5"
    return f"{_HEADING}.\n\n{fenced(python, 'python')}\n{fenced(search, 'console')}"


def with_onnx(model: Embedder, check: Check) -> str:
    """What the graph takes and gives, how far it is from torch, and how to run it."""
    name, of_images = input_name(model), model.preparation.of_images
    takes = "uint8 (B, C, H, W) from 0 to 255" if of_images else "float32 (B, F)"
    holds = ["the normalisation", "the network"] if of_images else ["the network"]
    holds += ["the scaling to unit length"] if model.network.normalize else []
    compared = f"{noun(model)} of the test part" if check.images == "test" else f"random {noun(model)}"
    said = (
        f"`{GRAPH}` takes `{name}`, {takes}, and gives `{OUTPUT}`, float32 (B, {model.size}), for any B. It holds "
        f"{', '.join(holds)}. Compared with torch on {check.queries:,} {compared}: largest "
        f"deviation {check.deviation:.1e}, the same {NEIGHBOURS} nearest neighbours for {check.same:.2%} of them "
        f"(distances within {TIE:g} count as equal)."
    )
    run = f'import onnxruntime\n\nsession = onnxruntime.InferenceSession("FOLDER/{GRAPH}")\n'
    if not of_images:
        code = f'{run}embeddings = session.run(None, {{"{name}": {name}}})[0]'
        return f"## ONNX\n\n{said}\n\n{fenced(code, 'python')}"
    code = (
        f'{pixels_code(model.preparation)}\n\n{run}batch = np.stack([pixels("a.jpg"), pixels("b.jpg")])\n'
        f'embeddings = session.run(None, {{"{name}": batch}})[0]'
    )
    steps = "Reading, scaling and cropping are not in it. With Pillow and NumPy alone:"
    return f"## ONNX\n\n{said}\n\n{steps}\n\n{fenced(code, 'python')}"


def fenced(text: str, language: str) -> str:
    """A block of code, which nothing in the text can end."""
    longest = max((len(found) for found in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}\n"
