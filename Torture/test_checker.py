"""The checker is able to fail: one small history, made by hand, for each rule, and one beside it that keeps the rule.

    python3 -m unittest test_checker
"""

import unittest

from checker import check

SECOND = 1_000_000_000


def worker(name, library="dlock", lock="a", lease=1, renews=True):
    return {"t": 0, "e": "worker", "w": name, "l": lock, "library": library, "lease": lease, "renews": renews}


def event(at, kind, name, grant=None, lock="a", **details):
    found = {"t": int(at * SECOND), "e": kind, "w": name, "l": lock, **details}
    return found if grant is None else {**found, "g": grant}


def held(at, name, grant, token=None, lock="a"):
    return event(at, "held", name, grant, lock, token=token, pid=1)


def write(at, name, grant, read, was, **details):
    return event(at, "write", name, grant, read=read, was=was, **{"fenced": "-", **details})


def fenced(at, name, grant, token, fence, became, read, was):
    return write(
        at, name, grant, 0, 0, token=token, fence=fence, fenced=became, fenced_read=read, fenced_was=was)


class CheckerTests(unittest.TestCase):
    def counts(self, *events, library="dlock"):
        return check([worker("x", library), worker("y", library), *events]).result()[library]

    def count(self, rule, *events):
        return self.counts(*events)[rule]

    # M

    def test_two_that_believe_at_once_are_an_overlap(self):
        self.assertEqual(self.count("M", held(1, "x", 1), held(2, "y", 2)), 1)

    def test_how_long_an_overlap_was_is_told(self):
        found = self.counts(held(1, "x", 1), held(2, "y", 2), event(2.25, "releasing", "x", 1))
        self.assertEqual(found["longest_ms"], 250)

    def test_a_belief_ends_with_the_release_with_being_told_and_with_the_process(self):
        for end in ("releasing", "told", "gone"):
            self.assertEqual(self.count("M", held(1, "x", 1), event(2, end, "x", 1), held(2.5, "y", 2)), 0, end)

    def test_two_locks_do_not_overlap(self):
        self.assertEqual(self.count("M", held(1, "x", 1), held(2, "y", 2, lock="b")), 0)

    def test_who_is_stopped_does_not_believe_meanwhile(self):
        stopped = event(1.1, "stopped", "x", 1, whole=True)
        after = [held(2.5, "y", 2), event(2.6, "releasing", "y", 2), event(3, "continued", "x", 1)]
        self.assertEqual(self.count("M", held(1, "x", 1), stopped, *after), 0)

    def test_who_was_stopped_for_less_than_a_lease_believes_again(self):
        stopped, back = event(1.1, "stopped", "x", 1, whole=True), event(1.9, "continued", "x", 1)
        self.assertEqual(self.count("M", held(1, "x", 1), stopped, held(1.5, "y", 2), back), 1)

    def test_a_body_whose_dlock_alone_is_stopped_goes_on_believing(self):
        stopped = event(1.1, "stopped", "x", 1, whole=False)
        self.assertEqual(self.count("M", held(1, "x", 1), stopped, held(2.5, "y", 2)), 1)

    def test_a_lease_that_is_not_renewed_ends_the_belief(self):
        workers = [worker("x", "redis-py", renews=False), worker("y", "redis-py", renews=False)]
        for at, overlaps in ((1.9, 1), (2.1, 0)):
            found = check([*workers, held(1, "x", 1), held(at, "y", 2)]).result()
            self.assertEqual(found["redis-py"]["M"], overlaps, at)

    # R

    def test_a_write_over_another_one_that_was_not_read_is_lost_or_stale(self):
        self.assertEqual(self.count("R", held(1, "x", 1), write(2, "x", 1, read=4, was=5)), 1)
        self.assertEqual(self.count("R", held(1, "x", 1), write(2, "x", 1, read=5, was=5)), 0)

    def test_a_fenced_resource_that_takes_a_lower_token_is_found(self):
        self.assertEqual(self.count("RF", held(1, "x", 1, 7), fenced(2, "x", 1, 7, 8, "accepted", 0, 0)), 1)
        self.assertEqual(self.count("RF", held(1, "x", 1, 8), fenced(2, "x", 1, 8, 8, "accepted", 0, 0)), 0)

    def test_a_fenced_resource_that_loses_an_update_is_found(self):
        self.assertEqual(self.count("RF", held(1, "x", 1, 8), fenced(2, "x", 1, 8, 8, "accepted", 3, 4)), 1)

    def test_what_a_fence_refuses_is_counted_and_is_no_fault(self):
        found = self.counts(held(1, "x", 1, 7), fenced(2, "x", 1, 7, 8, "refused", 3, 4))
        self.assertEqual((found["refused"], found["RF"]), (1, 0))

    # F

    def test_a_token_below_an_earlier_one_is_found(self):
        first = [event(0.5, "began", "x"), held(1, "x", 1, 10), event(1.5, "releasing", "x", 1), event(2, "began", "y")]
        self.assertEqual(self.count("F", *first, held(3, "y", 2, 9)), 1)
        self.assertEqual(self.count("F", *first, held(3, "y", 2, 10)), 1)
        self.assertEqual(self.count("F", *first, held(3, "y", 2, 11)), 0)

    def test_a_token_that_comes_twice_is_found(self):
        both = [event(0.5, "began", "x"), event(0.5, "began", "y"), held(1, "x", 1, 10), event(1.5, "releasing", "x", 1)]
        self.assertEqual(self.count("F", *both, held(3, "y", 2, 10)), 1)

    def test_of_grants_at_the_same_time_nobody_can_tell_which_was_first(self):
        both = [event(0.5, "began", "x"), event(0.5, "began", "y"), held(1, "x", 1, 10), event(1.5, "releasing", "x", 1)]
        self.assertEqual(self.count("F", *both, held(3, "y", 2, 9)), 0)

    # L and O

    def test_who_is_not_served_after_the_healing_is_a_stall(self):
        healed = {"t": 0, "e": "healed", "workers": ["x", "y"]}
        settled = {"t": 9 * SECOND, "e": "settled"}
        self.assertEqual(self.count("L", healed, held(1, "x", 1), settled), 1)
        served = [held(1, "x", 1), event(2, "releasing", "x", 1), held(3, "y", 2)]
        self.assertEqual(self.count("L", healed, *served, settled), 0)
        self.assertEqual(self.count("L", held(1, "x", 1), healed, settled), 2)

    def test_what_is_left_behind_is_counted(self):
        self.assertEqual(self.count("O", {"t": 0, "e": "leftover", "library": "dlock", "what": "dlock:a"}), 1)

    # Faults and grants

    def test_a_fault_of_the_servers_is_one_for_each_library(self):
        workers = [worker("x", "dlock"), worker("y", "kazoo", lock="b")]
        common = {"t": 0, "e": "fault", "library": None, "count": 1}
        own = {"t": 0, "e": "fault", "library": "kazoo", "count": 3}
        found = check([*workers, common, own, held(1, "x", 1)]).result()
        self.assertEqual((found["dlock"]["faults"], found["kazoo"]["faults"]), (1, 4))
        self.assertEqual((found["dlock"]["grants"], found["kazoo"]["grants"]), (1, 0))


if __name__ == "__main__":
    unittest.main()
