#!/usr/bin/env python3
"""Changes the arithmetic one operator or function at a time, and looks which tests notice.

cargo-mutants makes the changes; .cargo/mutants.toml says in which files. A sample is every N-th of
them, so that it is the same in every run of one commit. Each is given to the unit tests of its
crate first, what these do not notice to all tests that are quick, and the rest to all tests of the
crate. What cannot or need not be noticed has its reason in missed.toml, and counts as missed.

Run it at the root of a clean checkout with nothing else on the machine: a thirtieth takes an hour.
Each change is taken back after its tests. Install the tool first:
cargo install cargo-mutants --locked --version 27.1.0

Usage: faults/mutants.py [--sample K/N | --again] --results docs/results/mutants.json
With --again, the mutants that the results file says were missed are given to all tests that there
are now.
"""
import argparse, json, os, re, subprocess, sys, tomllib

from plant import git, machine

HERE = os.path.dirname(os.path.abspath(__file__))
CRATES = ["-p", "fhe-core", "-p", "fhe-train"]
# Tests on parameter sets of full size, and of whole trainings.
SLOW = ["secure128", "tuned_networks", "a_binarized_residual", "a_step_that_is_stopped",
        "a_network_of_two_layers"]
PASSES = [
    ("unit tests", ["--lib"]),
    ("quick tests", ["--lib", "--tests", "--", *(word for s in SLOW for word in ("--skip", s))]),
    ("all tests", ["--lib", "--tests"]),
]
OUTCOMES = {"CaughtMutant": "caught", "MissedMutant": "missed", "Timeout": "caught",
            "Unviable": "does not build"}


def run(selection, test):
    """Returns the outcome of each mutant of a selection."""
    command = ["cargo", "mutants", "--in-place", *CRATES, *selection, "--", *test]
    # 2 and 3 say that mutants were missed or took too long, 4 that the tests fail without one.
    if (code := subprocess.run(command, check=False).returncode) not in (0, 2, 3):
        sys.exit(f"error: cargo mutants ended with {code}: see mutants.out/log")
    with open("mutants.out/outcomes.json") as file:
        outcomes = json.load(file)["outcomes"]
    return {x["scenario"]["Mutant"]["name"]: OUTCOMES[x["summary"]]
            for x in outcomes if x["scenario"] != "Baseline"}


def without_place(mutant):
    """A mutant's name without its line and column, which move."""
    return re.sub(r"^([^:]+):\d+:\d+:", r"\1:", mutant)


def run_each(mutants, test):
    """Returns the outcome of each of some mutants: one by one, since --re (27.1.0) does not hold
    back mutants that leave out the field of a structure."""
    command = ["cargo", "mutants", "--list", "--json", *CRATES]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    every = [mutant["name"] for mutant in json.loads(listed)]
    outcomes = {}
    for mutant in mutants:
        if mutant not in every:
            sys.exit(f"error: there is no such mutant any more: {mutant}")
        selection = ["--shard", f"{every.index(mutant)}/{len(every)}", "--sharding", "slice"]
        # The tests pass without a mutant: once is enough.
        selection += ["--baseline", "skip", "--timeout", "3600"] if outcomes else []
        outcomes.update(run(selection, test))
    return outcomes


def sample(part, reasons):
    """Returns what was found of a sample."""
    found, left, caught_by = {}, [], []
    for name, test in PASSES:
        every = ["--shard", part, "--sharding", "round-robin"]
        outcomes = run_each(left, test) if left else run(every, test)
        found.update(outcomes)
        caught_by.append({"tests": name, "caught": sum(x == "caught" for x in outcomes.values())})
        missed = [mutant for mutant, x in found.items() if x == "missed"]
        left = [mutant for mutant in missed if without_place(mutant) not in reasons]
        if not left:
            break
    return {"sample": part, "caught_by": caught_by, "missed": missed,
            "not_built": sum(x == "does not build" for x in found.values()),
            "machine": machine(), "commit": git("rev-parse", "HEAD").strip()}


def again(before, reasons):
    """Returns what was found before, and what is found now of the mutants that were missed."""
    missed = [x["mutant"] for x in before["missed"]]
    left = [mutant for mutant in missed if without_place(mutant) not in reasons]
    outcomes = run_each(left, PASSES[-1][1])
    caught = [mutant for mutant in left if outcomes[mutant] == "caught"]
    since = {"tests": "all tests, at " + git("rev-parse", "--short=8", "HEAD").strip(),
             "caught": len(caught)}
    missed = [mutant for mutant in missed if mutant not in caught]
    return {**before, "caught_by": before["caught_by"] + [since], "missed": missed}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", default="7/30", help="every N-th mutant from K on: K/N")
    parser.add_argument("--again", action="store_true",
                        help="try those again that the results file says were missed")
    parser.add_argument("--results", required=True, help="where to write what was found, JSON")
    args = parser.parse_args()
    if git("status", "--porcelain", "--untracked-files=no").strip():
        sys.exit("error: the checkout has changes: mutants are made in a clean one")
    with open(os.path.join(HERE, "missed.toml"), "rb") as file:
        reasons = {x["mutant"]: x["reason"] for x in tomllib.load(file)["missed"]}
    if args.again:
        with open(args.results) as file:
            found = again(json.load(file), reasons)
    else:
        found = sample(args.sample, reasons)
    found["missed"] = [{"mutant": mutant, "reason": reasons.get(without_place(mutant))}
                       for mutant in sorted(found["missed"])]
    found["caught"] = sum(x["caught"] for x in found["caught_by"])
    found["command"] = f"faults/mutants.py --sample {found['sample']} --results FILE"
    print(f"{found['caught']} of {found['caught'] + len(found['missed'])} mutants are caught")
    with open(args.results, "w") as file:
        json.dump(found, file, indent=2)
        file.write("\n")


if __name__ == "__main__":
    main()
