"""What a search has found as one page of pictures that needs no other file and no network."""

import io
from base64 import b64encode
from functools import cache

from PIL import Image

from metriscope.data.inputs.decoding import decode
from metriscope.errors import InputError
from metriscope.escapes import for_html
from metriscope.serving.found import Found

QUERIES, NEIGHBOURS = 50, 20
"""The most that a page shows of each."""
SIDE = 128
_STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 2rem; color: #222 }
.row { display: flex; gap: .6rem; align-items: flex-start; border-top: 1px solid #ddd; padding: .8rem 0;
  overflow-x: auto }
figure { margin: 0; width: 132px; flex: none; overflow-wrap: anywhere; font-size: 12px }
figure.query { border-right: 3px solid #0072B2; padding-right: .6rem; font-weight: 600 }
img, .missing { width: 128px; height: 128px; object-fit: contain; background: #f3f3f3 }
.missing { display: flex; align-items: center; justify-content: center; color: #777 }
.label { color: #555 }
"""
# Nothing is fetched, and nothing is run, whatever the names say.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(found: Found) -> str:
    """A row for each query: its picture, and those of its neighbours with distance, label and name.

    The first :data:`QUERIES` queries and :data:`NEIGHBOURS` of each; images that are gone are shown as missing.
    """
    picture = cache(_picture)
    total = len(found.queries)
    shown = f"the first {QUERIES} of {total:,} queries" if total > QUERIES else f"queries: {total}"
    if found.neighbours.indices.shape[1] > NEIGHBOURS:
        shown += f", {NEIGHBOURS} neighbours of each"
    parts = ["<!doctype html><html lang='en'><meta charset='utf-8'>"]
    parts.append(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">')
    parts.append(f"<title>Nearest images</title><style>{_STYLE}</style><h1>Nearest images</h1><p>{shown}</p>")
    gallery = found.neighbours.gallery
    for place, (query, near) in zip(range(QUERIES), found.rows(), strict=False):
        cells = [f"<figure class='query'>{picture(found.queries.file(place))}{_caption('query', '', query)}"]
        cells += [
            f"<figure>{picture(gallery.file(one.place))}{_caption(f'{one.distance:.4f}', one.label, one.path)}"
            for one in near[:NEIGHBOURS]
        ]
        parts.append(f"<div class='row'>{''.join(cells)}</div>")
    return "\n".join([*parts, "</html>\n"])


def _caption(first: str, label: str, path: str) -> str:
    middle = f"<span class='label'>{for_html(label)}</span><br>" if label else ""
    return f"<figcaption>{first}<br>{middle}{for_html(path)}</figcaption></figure>"


def _picture(path: str | None) -> str:
    try:
        image = Image.fromarray(decode(path or "")[0].numpy())
    except InputError:
        return "<div class='missing'>missing</div>"
    image.thumbnail((SIDE, SIDE))
    content = io.BytesIO()
    image.save(content, "JPEG", quality=80)
    return f"<img alt='' src='data:image/jpeg;base64,{b64encode(content.getvalue()).decode()}'>"
