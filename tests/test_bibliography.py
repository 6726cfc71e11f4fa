"""docs/bibliography.md against the citations of the lessons, the package and the pages."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/bibliography.md"
TEXTS = ["README.md", "data/README.md", "docs/*.md", "course_utils/**/*.py", "course_utils/**/*.toml"]

# --- entries ---

# - **Howard and Ruder, 2018.** Title. Venue. [arXiv:1801.06146](https://arxiv.org/abs/1801.06146)
ENTRY = re.compile(
    r"- \*\*(?P<authors>[^*]+), (?P<year>\d{4})\.\*\* "
    r"(?P<title>.+)\. "  # and the venue
    r"\[(?P<label>[^\]]+)\]\((?P<address>https://[^\s()]+)\)"
)
ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})|arxiv\.org/(?:abs|pdf)/(\d{4}\.\d{4,5})", re.IGNORECASE)


class Key(NamedTuple):
    """What a citation by name and year is looked up by."""

    author: str  # the first one's last name
    year: str


class Entry(NamedTuple):
    key: Key
    title: str
    label: str
    address: str

    @property
    def arxiv(self) -> str | None:
        return next(iter(arxiv_ids(self.address)), None)


def entry(line: str) -> Entry:
    """A line of the list, or an AssertionError that shows it."""
    found = ENTRY.fullmatch(line)
    assert found, f"not of the form **authors, year.** title. [name](address): {line}"
    key = Key(first_author(found["authors"]), found["year"])
    return Entry(key, found["title"], found["label"], found["address"])


def bibliography() -> list[Entry]:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    return [entry(line) for line in lines if line.startswith("- ")]


# --- citations ---

NAME = r"[A-ZÀ-Þ][a-zß-ÿ]+(?:-?[A-Z][a-zß-ÿ]+)?"  # Cho, Jégou, LeCun, Ben-David
MORE = r"(?: and others| et al\.)"
AUTHORS = rf"(?P<authors>{NAME}(?:, {NAME})*(?:{MORE}| and {NAME})?)"
YEAR = r"(?P<year>(?:19|20)\d\d)(?![\d/]| edition)"  # not 2017/18
VENUE = r"(?:[A-Z]{2,} )?"  # ACL
# What may follow: ", arXiv:…", " ([arXiv:…", "](https://arxiv.org/abs/…"
ID = r"(?:(?:,? [(\[]*arXiv:|\]\(https://arxiv\.org/abs/)(?P<arxiv>\d{4}\.\d{4,5}))?"

# By name and year, as one reads them in a sentence:
#     (Howard and Ruder, 2018)  Merity, Keskar and Socher (2017, …)  Hinton and others 2015
#     He et al., 2015           Maas et al. (ACL 2011)               Hutto and Gilbert, ICWSM 2014
IN_TEXT = re.compile(rf"(?<![\w-]){AUTHORS}(?:, |(?: \()|(?<=others )|(?<=others) ){VENUE}{YEAR}{ID}")
# With the title, in brackets or quotation marks, the year at the end:
#     (Hutto and Gilbert: VADER. ICWSM 2014)  "Krizhevsky: Learning Multiple Layers of …. 2009"
WITH_TITLE = re.compile(rf"[(\"]{AUTHORS}: [^\"]{{1,160}}?(?<!\d){YEAR}(?=[)\"])(?P<arxiv>)?")

NO_PAPERS = {Key("Story", "1995")}  # a film


def first_author(authors: str) -> str:
    """The first name of "A", "A and B", "A, B and C", "A and others" or "A et al."."""
    return re.split(r",| and | et al", authors)[0]


def arxiv_ids(text: str) -> list[str]:
    return [first or second for first, second in ARXIV.findall(text)]


def citations(text: str) -> list[tuple[Key, str | None]]:
    """Citations by name and year, each with the arXiv id that stands behind it, if there is one."""
    joined = re.sub(r"\s*\n[\s#>]*", " ", text)  # a citation may go on in the next line
    found = [*IN_TEXT.finditer(joined), *WITH_TITLE.finditer(joined)]
    keys = [(Key(first_author(one["authors"]), one["year"]), one["arxiv"] or None) for one in found]
    return [(key, arxiv) for key, arxiv in keys if key not in NO_PAPERS]


def sources() -> Iterator[tuple[str, str]]:
    """(Name, text) of all that may cite: cells of notebooks, the package, the pages."""
    for notebook in sorted((ROOT / "nbs").rglob("*.ipynb")):
        if ".ipynb_checkpoints" not in notebook.parts:
            for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
                yield str(notebook.relative_to(ROOT)), "".join(cell["source"])
    for pattern in TEXTS:
        for file in sorted(ROOT.glob(pattern)):
            if file != PAGE:
                yield str(file.relative_to(ROOT)), file.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def cited() -> list[tuple[str, Key, str | None]]:
    """(Where, key, arXiv id behind it or None) of each citation by name and year."""
    return [(where, *one) for where, text in sources() for one in citations(text)]


@pytest.fixture(scope="module")
def cited_ids() -> list[tuple[str, str]]:
    """(Where, arXiv id)."""
    return [(where, arxiv) for where, text in sources() for arxiv in arxiv_ids(text)]


# --- what is found ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("grew ULMFiT (Howard and Ruder, 2018), and", [("Howard", "2018", None)]),
        ("Merity, Keskar and Socher (2017, arXiv:1708.02182) found", [("Merity", "2017", "1708.02182")]),
        ("As Smith (2017) says", [("Smith", "2017", None)]),
        ("a momentum (Polyak, 1964).", [("Polyak", "1964", None)]),
        ("([He et al., 2015](https://arxiv.org/abs/1502.01852))", [("He", "2015", "1502.01852")]),
        ("(Jégou and Ben-David, 2001)", [("Jégou", "2001", None)]),
        ("as Ben-David, Jégou and Le (2001) say", [("Ben-David", "2001", None)]),
        ("Luo et al., 2016, [arXiv:1701.04128](…)", [("Luo", "2016", "1701.04128")]),
        ("Zhou et al., 2015 ([arXiv:1512.04150](…))", [("Zhou", "2015", "1512.04150")]),
        ("*distillation*, Hinton and others 2015, [arXiv:1503.02531]", [("Hinton", "2015", "1503.02531")]),
        ("He and others (2015, arXiv:1512.03385) showed", [("He", "2015", "1512.03385")]),
        ("the reviews of Maas et al. (ACL 2011; no licence)", [("Maas", "2011", None)]),
        ("cite Hutto and Gilbert, ICWSM 2014; the", [("Hutto", "2014", None)]),
        ("# (Hutto and\n# Gilbert: VADER.\n# ICWSM 2014)", [("Hutto", "2014", None)]),
        ('"LeCun, Bottou: Gradient. Proc. IEEE 86(11), 1998"', [("LeCun", "1998", None)]),
        ("(Kim, 2014) and (Cho and others, 2014)", [("Kim", "2014", None), ("Cho", "2014", None)]),
        ("AWD-LSTM: Merity, Keskar\nand Socher, 2017, x", [("Merity", "2017", None)]),
    ],
)
def test_citations_are_found(text, expected):
    assert [(*key, arxiv) for key, arxiv in citations(text)] == expected


@pytest.mark.parametrize(
    "text",
    [
        "In 2013 Kaggle held a contest",
        "Practical Deep Learning, 2017/18",
        "pictures of State Farm (2016 edition)",
        '"State Farm, Kaggle 2016"',
        "2013: fillna(1900), Timestamp(2013, 7, 1)",
        "He has 20150 rows, and others 12345",
        '"Nietzsche: Beyond Good and Evil", 1886',
        'as in "Toy Story (1995)"',
    ],
)
def test_other_years_are_no_citations(text):
    assert citations(text) == []


def test_arxiv_ids_are_found():
    text = "(arXiv:1506.01186, arXiv:1801.06146) [x](https://arxiv.org/abs/1409.1556) arXiv:17"
    assert arxiv_ids(text) == ["1506.01186", "1801.06146", "1409.1556"]


@pytest.mark.parametrize(
    ("authors", "first"),
    [("Kim", "Kim"), ("Gu and Dao", "Gu"), ("Le, Jaitly and Hinton", "Le"), ("He et al.", "He")],
)
def test_first_author(authors, first):
    assert first_author(authors) == first


def test_every_kind_of_source_cites(cited, cited_ids):
    """The patterns have not silently stopped to find anything."""
    places = [where for where, *_ in [*cited, *cited_ids]]
    for start in ("nbs/lesson", "nbs/2017/", "nbs/solutions/", "course_utils/", "data/README.md"):
        assert any(place.startswith(start) for place in places), start
    assert len(cited) > 40


# --- the page ---


def test_entries_have_the_form():
    for one in bibliography():
        if one.arxiv:
            assert (one.label, one.address) == (f"arXiv:{one.arxiv}", f"https://arxiv.org/abs/{one.arxiv}")
        else:
            assert "arxiv" not in one.address, one
        if one.label.startswith("doi:"):
            assert one.address.startswith("https://doi.org/10."), one


@pytest.mark.parametrize("line", ["- **Kim, 2014.** Title. EMNLP.", "- **Kim.** Title. [x](https://x.org)"])
def test_an_entry_without_address_or_year_is_refused(line):
    with pytest.raises(AssertionError, match="not of the form"):
        entry(line)


def test_entries_are_sorted_and_unique():
    entries = bibliography()
    order = [(one.key.author.casefold(), one.key.year, one.title.casefold()) for one in entries]
    assert order == sorted(order)
    for names in ([one.title for one in entries], [one.address for one in entries]):
        assert [name for name, n in Counter(names).items() if n > 1] == []


def test_every_arxiv_id_has_an_entry(cited_ids):
    listed = {one.arxiv for one in bibliography()}
    assert [(where, arxiv) for where, arxiv in cited_ids if arxiv not in listed] == []


def test_every_citation_has_an_entry(cited):
    """By first author and year; with an arXiv id behind it, that entry and no other."""
    listed = {(one.key, arxiv) for one in bibliography() for arxiv in (one.arxiv, None)}
    assert [one for one in cited if one[1:] not in listed] == []


def test_every_entry_is_cited(cited, cited_ids):
    """By its arXiv id, or by name and year where these mean one entry alone."""
    ids = {arxiv for _, arxiv in cited_ids}
    keys = {key for _, key, arxiv in cited if arxiv is None}
    others = [one for one in bibliography() if one.arxiv not in ids]
    assert [one for one in others if one.key not in keys] == []
    assert [key for key, n in Counter(one.key for one in others).items() if n > 1] == []
