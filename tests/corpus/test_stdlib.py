"""The standard library as a corpus: complete, byte for byte, in a fixed order."""

from __future__ import annotations

from pathlib import Path

from valence.corpus.stdlib import read_stdlib
from valence.data import Document, Unread


def test_the_running_standard_library() -> None:
    found = list(read_stdlib())
    documents = [item for item in found if isinstance(item, Document)]
    by_source = {document.source: document for document in documents}
    assert len(documents) > 500
    assert len(by_source) == len(documents)
    assert by_source["ast.py"].id == "stdlib/ast.py"
    assert by_source["json/decoder.py"].text.startswith('"""')
    unwanted = {"site-packages", "dist-packages", "encodings", "pydoc_data", "__pycache__"}
    assert not any(unwanted & set(source.split("/")) for source in by_source)
    assert found == list(read_stdlib())


def test_text_comes_out_byte_for_byte(tmp_path: Path) -> None:
    data = {
        "a.py": b"x = 1\r\ny = 2\rz = 3",
        "b/bom.py": b"\xef\xbb\xbfx = 1\n",
        "c.py": b"",
        "latin.py": b"# coding: latin-1\nx = '\xe9'\n",
    }
    for name, content in data.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    found = list(read_stdlib(tmp_path))
    assert [item.source for item in found if isinstance(item, Document)] == sorted(data)
    for item in found:
        assert isinstance(item, Document)
        encoding = "latin-1" if item.source == "latin.py" else "utf-8"
        assert item.text.encode(encoding) == data[item.source]


def test_what_cannot_be_decoded_is_a_failure_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "early.py").write_bytes(b"x = '\xff'\n")
    (tmp_path / "late.py").write_bytes(b"\n\n\nx = '\xff'\n")
    (tmp_path / "ascii.py").write_bytes(b"# coding: ascii\n\n\nx = '\xff'\n")
    (tmp_path / "codec.py").write_bytes(b"# coding: nonsense\n")
    (tmp_path / "hex.py").write_bytes(b"# coding: rot13\n")
    found = {
        item.source: (item.failure.stage, item.failure.kind)
        for item in read_stdlib(tmp_path)
        if isinstance(item, Unread)
        and item.id == f"stdlib/{item.source}"
        and item.failure.message.startswith(f"{item.source}: ")
    }
    assert found == {
        "early.py": ("read", "not-utf-8"),
        "late.py": ("read", "not-utf-8"),
        "ascii.py": ("read", "undecodable"),
        "codec.py": ("read", "unknown-encoding"),
        "hex.py": ("read", "unknown-encoding"),
    }


def test_links_out_of_the_tree_are_not_followed(tmp_path: Path) -> None:
    root = tmp_path / "library"
    root.mkdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.py").write_text("x = 1\n")
    (root / "own.py").write_text("x = 1\n")
    (root / "file.py").symlink_to(outside / "secret.py")
    (root / "folder").symlink_to(outside)
    (root / "gone.py").symlink_to(root / "missing.py")
    found = list(read_stdlib(root))
    assert [item.source for item in found if isinstance(item, Document)] == ["own.py"]
    assert [item.failure.kind for item in found if isinstance(item, Unread)] == ["unreadable"]
