"""The scorecard's results as Markdown."""

from __future__ import annotations

from collections.abc import Iterable

from wrong_kernels import WRONG


def _cell(results: list, judge: str) -> str:
    """Wrong kernels let through, right ones rejected; - where none was put to the judge."""

    def asked(right: bool) -> list[bool]:
        return [
            r.passed[judge]
            for r in results
            if r.counts and r.case.right == right and judge in r.passed
        ]

    wrong, right = asked(False), asked(True)
    if not wrong and not right:
        return "-"
    return f"{sum(wrong)} / {len(right) - sum(right)}"


def _row(cells: Iterable[object]) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _table(head: list[str], rows: list[list[object]]) -> str:
    return "\n".join([_row(head), _row(["---"] * len(head)), *map(_row, rows)])


def judges_table(results: list, problems: list[str]) -> str:
    """A judge a row: wrong kernels let through / right ones rejected, by problem and together."""
    judges = list(dict.fromkeys(name for r in results for name in r.passed))
    groups = [[r for r in results if r.case.problem == p] for p in problems] + [results]

    def asked(group: list) -> str:
        wrong, right = (sum(r.counts for r in group if r.case.right == ok) for ok in (False, True))
        return f"*{wrong} / {right}*"

    rows: list[list[object]] = [["*kernels: wrong / right*", *map(asked, groups)]]
    rows += [[judge, *(_cell(group, judge) for group in groups)] for judge in judges]
    return _table(["judge", *problems, "together"], rows)


def kernels_table(results: list, problems: list[str], contract: str) -> str:
    """A wrong kernel a row: on each problem whether it is caught, and what explain calls it."""
    by_case = {(r.case.problem, r.case.kernel): r for r in results if not r.case.right}

    def cell(problem: str, kernel: str) -> str:
        result = by_case.get((problem, kernel))
        if result is None or not result.counts:
            return ""
        if result.broke:
            return "broke"
        caught = not result.passed[contract]
        said = "caught" if caught else "**missed**"
        if result.cause:
            named = result.cause in WRONG[kernel].causes
            said += f": {result.cause}" if named else f": *{result.cause}*"
        return said

    rows = [
        [f"{name}: {wrong.says}", *(cell(problem, name) for problem in problems)]
        for name, wrong in WRONG.items()
        if any((problem, name) in by_case for problem in problems)
    ]
    return _table(["wrong kernel", *problems], rows)


def markdown(results: list, problems: list[str]) -> str:
    """Both tables and the totals."""
    contract = next((name for r in results for name in r.passed), "")
    wrong = [r for r in results if not r.case.right and r.counts and not r.broke]
    right = [r for r in results if r.case.right and r.counts and not r.broke]
    caught = sum(not r.passed[contract] for r in wrong)
    explained = [r for r in wrong if r.cause]
    named = sum(r.cause in WRONG[r.case.kernel].causes for r in explained)
    totals = (
        f"By {contract}: {caught} of {len(wrong)} wrong answers caught, "
        f"{sum(not r.passed[contract] for r in right)} of {len(right)} right ones rejected."
    )
    if explained:
        totals += f" `explain` names the cause of {named} of {len(explained)} first."
    return "\n\n".join(
        [judges_table(results, problems), totals, kernels_table(results, problems, contract), ""]
    )
