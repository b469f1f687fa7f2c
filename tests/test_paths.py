"""Path files: what is read, and what is refused in one line that names the file and the fix."""

import gzip

import numpy as np
import pytest

from attribution.errors import InvalidPaths, UsageError
from attribution.paths import Paths, aggregate_paths, read_paths

GOOD = "path,conversions,revenue,nulls\nsearch > mail,2,10.5,1\nmail,1,0,3\n"
PACKED = gzip.compress(GOOD.encode(), mtime=0)  # a test's id must not hold the second of the run


@pytest.fixture
def write(tmp_path):
    def write(content, name="paths.csv"):
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    return write


def named(paths):
    """Counts of each path by the names of its steps."""
    counts = zip(paths.conversions, paths.nulls, paths.revenue, strict=True)
    return {
        " > ".join(paths.channels[step] for step in steps): tuple(map(float, count))
        for steps, count in zip(paths.steps, counts, strict=True)
    }


def test_columns_are_read_by_name(write):
    paths = read_paths(write(GOOD))
    assert paths.channels == ("mail", "search")
    assert named(paths) == {"search > mail": (2, 1, 10.5), "mail": (1, 3, 0)}
    assert (paths.total_conversions, paths.total_revenue) == (3, 10.5)


def test_touches_stand_path_after_path(write):
    paths = read_paths(write(GOOD))
    assert paths.steps == ((0,), (1, 0))
    assert paths.lengths.tolist() == [1, 2]
    assert paths.touches.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"\xef\xbb\xbf" + GOOD.encode(), "marked.csv"),
        (PACKED, "packed.csv.gz"),
        (gzip.compress(b"\xef\xbb\xbf" + GOOD.encode(), mtime=0), "marked.csv.gz"),
        (GOOD.replace("\n", "\r\n"), "windows.csv"),
        (GOOD.replace("\n", "\n\n"), "blank_lines.csv"),
        (GOOD.rstrip("\n"), "no_last_newline.csv"),
        (GOOD.replace(",conversions", " , conversions "), "spaced_header.csv"),
        (GOOD.replace("search > mail", '"search >  mail"'), "quoted.csv"),
        (GOOD.replace("search > mail", " search>mail "), "tight.csv"),
    ],
)
def test_the_same_paths_in_other_clothes(write, content, name):
    assert named(read_paths(write(content, name))) == named(read_paths(write(GOOD)))


def test_other_files_are_mapped(write):
    other = "journey;total;value;lost;note\na/b;1;2.5;4;x\n"
    columns = {"path": "journey", "conversions": "total", "revenue": "value", "nulls": "lost"}
    paths = read_paths(write(other), separator="/", delimiter=";", columns=columns)
    assert named(paths) == {"a > b": (1, 4, 2.5)}


def test_optional_columns_are_zero_where_absent(write):
    paths = read_paths(write("path,conversions\na,2\n"))
    assert named(paths) == {"a": (2, 0, 0)}


def test_repeated_paths_are_added_up(write):
    paths = read_paths(write("path,conversions,nulls\na > b,1,2\nc,1,0\na>b,3,4\n"))
    assert named(paths) == {"a > b": (4, 6, 0), "c": (1, 0, 0)}


def test_paths_without_steps_are_unattributed(write):
    text = "path,conversions,nulls,revenue\n,2,1,5\n > > ,1,0,1\na >  > b,1,0,0\n"
    paths = read_paths(write(text))
    assert named(paths) == {"a > b": (1, 0, 0)}
    assert paths.unattributed_conversions == 3
    assert paths.unattributed_nulls == 1
    assert paths.unattributed_revenue == 6
    assert (paths.total_conversions, paths.total_revenue) == (4, 6)


def test_a_file_of_empty_paths_alone_has_no_channels(write):
    paths = read_paths(write("path,conversions\n,2\n"))
    assert paths.channels == ()
    assert paths.steps == ()
    assert paths.total_conversions == 2


def test_hostile_names_are_data(write):
    names = ["'; drop table x;--", "=cmd|'/c calc'!A0", "start)", "a\nb", 'say "hi"', "a,b", "üñ✓"]
    quoted = ['"' + name.replace('"', '""') + '"' for name in names]
    paths = read_paths(write("path,conversions\n" + "".join(f"{name},1\n" for name in quoted)))
    assert paths.channels == tuple(sorted(names))


def test_the_order_of_lines_does_not_show():
    rows = [(["b", "a"], 1, 0, 2), (["a"], 2, 3, 0), (["c"], 0, 1, 0), (["b", "a"], 4, 0, 1)]
    one, other = aggregate_paths(rows), aggregate_paths(reversed(rows))
    assert one.channels == other.channels
    assert one.steps == other.steps
    assert named(one) == named(other)


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        ("", None, "empty"),
        (b"\xef\xbb\xbf", None, "empty"),
        (" \n\n", None, "empty"),
        ("path,conversions\n", None, "no rows"),
        ("path,conversions\n\n\n", None, "no rows"),
        ("path,conversion\na,1\n", None, "--columns conversions="),
        ("path;conversions\na;1\n", None, "--delimiter"),
        ("path,conversions,conversions\na,1,2\n", None, "twice"),
        ("path,conversions\na,1\nb,many\n", 3, "'many'"),
        ("path,conversions\na,\n", 2, "0 for none"),
        ("path,conversions\na,nan\n", 2, "finite"),
        ("path,conversions\na,inf\n", 2, "finite"),
        ("path,conversions\na,1e999\n", 2, "finite"),
        ("path,conversions\na,1_000\n", 2, "'1_000'"),
        ("path,conversions\na,-1\n", 2, "below 0"),
        ("path,conversions,nulls\na,1,-0.5\n", 2, "below 0"),
        ("path,conversions,revenue\na,1,-inf\n", 2, "revenue"),
        ('path,conversions\na,"1,5"\n', 2, "point"),
        ('path,conversions\na,"evil\nnumber"\n', 3, r"evil\nnumber"),
        ("path,conversions\na,b,1\n", 2, "quote names"),
        ("path,conversions\na\n", 2, "1 columns"),
        ('path,conversions\n"a,1\nb,2\n', 3, "quotes"),
        ("path,conversions\na > b,1\nb > (null),1\n", 3, "(null) is reserved"),
        ("path,conversions\na,1.5\n", 2, "no whole journeys"),
        ("path,conversions,nulls\na,1,0.25\n", 2, "no whole journeys"),
        ("path,conversions,revenue\na > b,0,5\n", None, "'a > b' has revenue but no conversions"),
        ("path,conversions,revenue\n,0,5\n", None, "empty path has revenue"),
        ("path,conversions\na,1e308\nb,1e308\n", None, "too large"),
        (b"path,conversions\na,1\n\xff\xfe,1\n", 3, "UTF-8"),
        ("path,conversions\na,1\n".encode("utf-16"), 1, "UTF-8"),
        (PACKED[:-12], None, "cannot be read"),
        (PACKED[:10] + b"\xff" * 20, None, "cannot be read"),
        (b"\x1f\x8bnot gzip at all", None, "cannot be read"),
    ],
)
def test_bad_files_are_refused_in_one_line(write, content, line, says):
    file = write(content)
    with pytest.raises(InvalidPaths) as refused:
        read_paths(file)
    message = str(refused.value)
    assert message.startswith(f"{file}, line {line}: " if line else f"{file}: ")
    assert says in message
    assert "\n" not in message


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path, says in ((tmp_path / "none.csv", "No such file"), (tmp_path, "directory")):
        with pytest.raises(InvalidPaths, match=says) as refused:
            read_paths(path)
        assert str(path) in str(refused.value)


def test_a_column_that_the_mapping_names_must_be_there(write):
    with pytest.raises(InvalidPaths, match=r"no column 'lost'.*--columns nulls="):
        read_paths(write(GOOD), columns={"nulls": "lost"})


@pytest.mark.parametrize(
    "arguments",
    [
        {"separator": "  "},
        {"separator": ""},
        {"delimiter": ""},
        {"delimiter": "||"},
        {"delimiter": '"'},
        {"columns": {"converted": "conversions"}},
    ],
)
def test_unusable_arguments_are_wrong_usage(write, arguments):
    with pytest.raises(UsageError) as refused:
        read_paths(write(GOOD), **arguments)
    assert "\n" not in str(refused.value)


def good_parts():
    return {
        "channels": ("a", "b"),
        "steps": ((0,), (1, 0)),
        "conversions": np.array([1.0, 2.0]),
        "nulls": np.array([0.0, 1.0]),
        "revenue": np.array([5.0, -1.0]),
    }


def test_paths_do_not_change_and_do_not_share_memory():
    parts = good_parts()
    paths = Paths(**parts)
    parts["conversions"][0] = 9
    assert paths.conversions.tolist() == [1, 2]
    with pytest.raises(ValueError, match="read-only"):
        paths.conversions[0] = 9
    with pytest.raises(AttributeError):
        paths.channels = ()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"channels": ("b", "a")}, "sorted"),
        ({"channels": ("a", "a")}, "unique"),
        ({"steps": ((0,), ())}, "empty"),
        ({"steps": ((0,), (0,))}, "twice"),
        ({"steps": ((0,), (2,))}, "no channel"),
        ({"steps": ((0,), (-1,))}, "no channel"),
        ({"conversions": np.array([1.0])}, "shape"),
        ({"conversions": np.array([1.0, np.nan])}, "infinite"),
        ({"nulls": np.array([-1.0, 0.0])}, "below 0"),
        ({"revenue": np.array(["x", "y"])}, "not a number"),
        ({"conversions": np.array([0.0, 1.0])}, "no conversions"),
        ({"unattributed_conversions": -1.0}, "below 0"),
        ({"unattributed_nulls": np.inf}, "infinite"),
    ],
)
def test_parts_that_contradict_each_other_are_refused(change, says):
    with pytest.raises(InvalidPaths, match=says):
        Paths(**(good_parts() | change))
