"""What every page of ours has: one file, no script, nothing loaded, the same style."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files

from valence.report.marked import escape

# No page that a model's text is shown on should be able to run or to load anything.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def framed(
    title: str, lead: str, contents: Mapping[str, str], *, styles: Sequence[str] = ("page.css",)
) -> str:
    """The whole document: sections of HTML by heading, the first above the list of the rest.

    `styles` are style sheets of this package.
    """
    folder = files("valence.report")
    style = "".join(folder.joinpath(name).read_text(encoding="utf-8") for name in styles)
    slugs = _slugs(contents)
    first, *rest = (_section(name, slugs[name], content) for name, content in contents.items())
    links = "".join(f'<li><a href="#{slugs[name]}">{escape(name)}</a></li>\n' for name in contents)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f'<header>\n<h1>{escape(title)}</h1>\n<p class="lead">{escape(lead)}</p>\n'
        f'</header>\n<main>\n{first}<nav aria-label="Sections"><ul>\n{links}</ul></nav>\n'
        f"{''.join(rest)}</main>\n</body>\n</html>\n"
    )


def figure(draw: Callable[[str, str, bool], str], *, name: str, alt: str, caption: str) -> str:
    """Both shapes of a figure; the style sheet shows one of them.

    `draw` takes a prefix for ids, the name of the image, and whether it is to be narrow.
    """
    return (
        f'<figure>\n<div class="card"><div class="wide">{draw(f"{name}-wide", alt, False)}</div>\n'
        f'<div class="narrow">{draw(f"{name}-narrow", alt, True)}</div></div>\n'
        f"<figcaption>{escape(caption)}</figcaption>\n</figure>"
    )


def listed(items: Sequence[str], nothing: str) -> str:
    """A list of plain sentences, or one that says there is none."""
    if not items:
        return f"<p>{nothing}</p>"
    return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"


def _section(name: str, slug: str, content: str) -> str:
    return (
        f'<section id="{slug}" aria-labelledby="{slug}-title">\n'
        f'<h2 id="{slug}-title">{escape(name)}</h2>\n{content}\n</section>\n'
    )


def _slugs(names: Mapping[str, str]) -> dict[str, str]:
    """An id for each heading; a number makes them differ where nothing else does."""
    found: dict[str, str] = {}
    for name in names:
        kept = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in name)
        slug, number = kept.lower(), 2
        while slug in found.values():
            slug, number = f"{kept.lower()}-{number}", number + 1
        found[name] = slug
    return found
