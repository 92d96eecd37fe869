"""Files are either whole or not there."""

import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advbg.benchmark.files import check_writable, copy_file, read_json, write_json, write_text
from advbg.files import write_atomically

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)


def test_a_file_is_there_with_all_its_content_when_the_context_ends_well(tmp_path):
    with write_atomically(tmp_path / "new.bin") as temporary:
        temporary.write_bytes(b"whole")
    assert (tmp_path / "new.bin").read_bytes() == b"whole"
    assert [file.name for file in tmp_path.iterdir()] == ["new.bin"]


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with write_atomically(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def fail_halfway(path, error):
    with write_atomically(path) as temporary:
        temporary.write_text("half")
        raise error


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(error):
        fail_halfway(path, error)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_before_anything_is_written_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="early"), write_atomically(tmp_path / "file.txt"):
        raise ValueError("early")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["figure.png", "model.safetensors", "results"])
def test_the_temporary_path_is_in_the_same_folder_with_the_same_suffix(tmp_path, name):
    path = tmp_path / name
    with write_atomically(path) as temporary:
        assert temporary != path
        assert (temporary.parent, temporary.suffix) == (path.parent, path.suffix)
        temporary.touch()


def test_two_writers_of_one_file_do_not_share_a_temporary_path(tmp_path):
    path = tmp_path / "file.txt"
    with write_atomically(path) as first, write_atomically(path) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"


@given(st.text())
def test_text_is_written_in_utf_8(text):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "text.md"
        write_text(path, text.replace("\r", ""))
        assert path.read_bytes().decode("utf-8") == text.replace("\r", "")


@given(json_values)
def test_json_reads_back_as_it_was(value):
    with TemporaryDirectory() as folder:
        write_json(Path(folder) / "value.json", value)
        assert json.loads((Path(folder) / "value.json").read_text(encoding="utf-8")) == value


def test_json_is_laid_out_for_people(tmp_path):
    write_json(tmp_path / "value.json", {"b": [1], "a": 2})
    assert (tmp_path / "value.json").read_text() == '{\n  "b": [\n    1\n  ],\n  "a": 2\n}\n'


def test_what_json_cannot_hold_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "value.json", 1)
    with pytest.raises(TypeError):
        write_json(tmp_path / "value.json", {1, 2})
    assert (tmp_path / "value.json").read_text() == "1\n"


def test_an_object_is_read_with_the_parts_that_it_must_have(tmp_path):
    write_json(tmp_path / "value.json", {"a": {"b": 1}, "c": 2})
    assert read_json(tmp_path / "value.json", "a") == {"a": {"b": 1}, "c": 2}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "Expecting property name"),
        (b"", "Expecting value"),
        (b"\xff{}", "codec can't decode"),
        (b"[]", "it is a list, expected an object"),
        (b'{"settings": {}}', "it has no object `methods`"),
        (b'{"settings": [], "methods": 1}', "it has no object `settings`, `methods`"),
    ],
)
def test_json_that_is_no_object_with_its_parts_is_damaged_and_named(content, message, tmp_path):
    file = tmp_path / "results.json"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=f"{re.escape(str(file))} is damaged: .*{message}"):
        read_json(file, "settings", "methods")


def test_a_copy_has_what_the_file_has_and_leaves_the_old_one_whole_to_its_readers(tmp_path):
    source, path = tmp_path / "new.png", tmp_path / "old.png"
    source.write_bytes(b"new")
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        copy_file(source, path)
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["new.png", "old.png"]


def test_a_copy_of_nothing_names_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing\.png"):
        copy_file(tmp_path / "missing.png", tmp_path / "path.png")


def test_a_folder_that_takes_files_is_made_and_left_empty(tmp_path):
    check_writable(tmp_path / "a" / "b", "published")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_folder_that_takes_no_files_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "folder"):
        with pytest.raises(OSError, match=rf"the folder of `published` \(='{folder}'\) must be one that takes files"):
            check_writable(folder, "published")
