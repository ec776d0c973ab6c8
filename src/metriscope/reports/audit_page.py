"""An audit of a data set as one self-contained HTML file: its table, and pictures of what it found."""

import io
from base64 import b64encode
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from metriscope.data.audit.audit import Audit
from metriscope.data.audit.findings import KINDS, Finding, findings, names
from metriscope.data.inputs.decoding import decode
from metriscope.data.inputs.images import ImageFiles
from metriscope.errors import InputError
from metriscope.escapes import for_html
from metriscope.files import replacing
from metriscope.reports.audit_tables import origin, table
from metriscope.reports.page import STYLE, html_table

_FINDINGS = 40  # that are shown of a kind
_MEMBERS = 8  # that are shown of a group
_SIDE = 160  # of a picture in pixels
_STYLE = """
.group { display: flex; flex-wrap: wrap; gap: .6rem; padding: .5rem 0; border-bottom: 1px solid #ddd }
figure { margin: 0; width: 170px } figure img { height: 120px; width: 100%; object-fit: contain; background: #f4f4f4 }
figcaption { font-size: 12px; overflow-wrap: anywhere } .note { background: none; color: #555; align-self: center }
.small { image-rendering: pixelated }
"""


def write_audit_page(audit: Audit, path: Path, dataset: str) -> None:
    """Write the page.

    Raises:
        OSError: the file cannot be written.
    """
    heading = for_html(f"Audit of {dataset}")
    parts = [f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{heading}</title>"]
    parts += [f"<style>{STYLE}{_STYLE}</style><h1>{heading}</h1>", html_table(table(audit))]
    found, name = findings(audit), names(audit)
    for kind, title in KINDS.items():
        of_kind = [one for one in found if one.kind == kind]
        if not of_kind:
            continue
        first = f" (the first {_FINDINGS} of {len(of_kind):,})" if len(of_kind) > _FINDINGS else f" ({len(of_kind)})"
        parts.append(f"<h2>{for_html(title)}{first}</h2>")
        parts += [_group(audit, one, name) for one in of_kind[:_FINDINGS]]
    with replacing(path) as draft:
        draft.write_text("\n".join([*parts, "</html>\n"]), encoding="utf-8")


def _group(audit: Audit, finding: Finding, name: list[str]) -> str:
    figures = [_figure(audit, place, name[place]) for place in finding.positions[:_MEMBERS]]
    rest = len(finding.positions) - _MEMBERS
    notes = [finding.note] if finding.note else []
    notes += [f"and {rest:,} more"] if rest > 0 else []
    return f"<div class='group'>{''.join(figures)}<span class='note'>{for_html(', '.join(notes))}</span></div>"


def _figure(audit: Audit, position: int, name: str) -> str:
    words = f"{for_html(origin(audit, position))}<br>{for_html(name)}"
    image = None if position in audit.unreadable else _image(audit, position)
    if image is None:
        return f"<figure><figcaption>{words}</figcaption></figure>"
    small = " class='small'" if max(image.size) < _SIDE // 2 else ""
    image.thumbnail((_SIDE, _SIDE))
    jpeg = io.BytesIO()
    image.save(jpeg, "JPEG", quality=85)
    source = f"data:image/jpeg;base64,{b64encode(jpeg.getvalue()).decode()}"
    return f"<figure><img{small} alt='{for_html(name)}' src='{source}'><figcaption>{words}</figcaption></figure>"


def _image(audit: Audit, position: int) -> Image.Image | None:
    """The picture of an example; None where there is none."""
    part, place = audit.place(position)
    examples = audit.parts[part]
    if isinstance(examples.inputs, ImageFiles):
        try:
            pixels, _ = decode(examples.inputs.paths[place], limit_mb=examples.inputs.limit_mb)
        except InputError:  # it has become unreadable
            return None
        return Image.fromarray(pixels.numpy())
    values = examples.fetch(torch.tensor([place]))
    if not isinstance(values, Tensor) or values.dim() != 4 or values.shape[1] not in (1, 3):
        return None
    return Image.fromarray(values[0].permute(1, 2, 0).expand(-1, -1, 3).contiguous().numpy())
