"""The audit's words: what was checked, what was not, what was found."""

import sys

import audit


def test_holes_are_told_with_their_mending_and_fail():
    found = [
        {"name": "one", "version": "1.0", "vulns": []},
        {"name": "two", "version": "2.0", "vulns": [{"id": "CVE-1", "fix_versions": ["2.1"]}]},
        {"name": "three", "skip_reason": "Dependency not found"},
    ]
    text, holes = audit.told(found)
    assert holes and "2 of 3 locked" in text
    assert "NOT CHECKED, since pip-audit's data lacks them: three" in text
    assert "HOLE: two 2.0: CVE-1, mended in ['2.1']" in text
    assert audit.told(found[:1]) == ("1 of 1 locked dependencies checked for known holes.", False)


def test_data_out_of_reach_is_said_and_is_no_good_news():
    broken = [sys.executable, "-c", "raise ConnectionError('no network')"]
    assert audit.audited(broken) == ([], "ConnectionError: no network")
    for none in ([], [{"name": "three", "skip_reason": "Dependency not found"}]):
        text, holes = audit.told(none, "no network")
        assert "NOT CHECKED" in text and "could not be had. It said: no network" in text
        assert not holes
