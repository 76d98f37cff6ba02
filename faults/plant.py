#!/usr/bin/env python3
"""Plants the faults of faults.toml one by one, and looks whether the test of each notices.

Run it at the root of a clean checkout: every fault is taken back after its test. A fault counts as
noticed if the tests pass without it, and if with it they are built and fail.

Usage: faults/plant.py [--results docs/results/faults.json] [--only WORD]
"""
import argparse, json, os, platform, subprocess, sys, time, tomllib

HERE = os.path.dirname(os.path.abspath(__file__))


def run(test, build_only=False):
    split = test.index("--") if "--" in test else len(test)
    command = ["cargo", "test", "--release", *test[:split]]
    command += ["--no-run"] if build_only else test[split:]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode == 0, done.stdout


def git(*arguments):
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout


def machine():
    models = [line for line in open("/proc/cpuinfo") if line.startswith("model name")]
    model = models[0].split(":")[1].strip() if models else platform.machine()
    return f"{model}, {os.cpu_count()} cores"


def write(path, names, found):
    """Writes what was found, beside what the file has of other faults that are still listed."""
    before = json.load(open(path))["faults"] if os.path.exists(path) else []
    known = {fault["fault"]: fault for fault in before + found}
    faults = [known[name] for name in names if name in known]
    summary = {"noticed": sum(fault["outcome"] == "noticed" for fault in faults),
               "faults": faults, "machine": machine(),
               "command": "faults/plant.py --results docs/results/faults.json"}
    with open(path, "w") as file:
        json.dump(summary, file, indent=2)
        file.write("\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results",
                        help="JSON file of what was found; other faults in it stay")
    parser.add_argument("--only", default="", help="only faults whose name has this word")
    args = parser.parse_args()
    if git("status", "--porcelain", "--untracked-files=no").strip():
        sys.exit("error: the checkout has changes: faults are planted in a clean one")
    with open(os.path.join(HERE, "faults.toml"), "rb") as file:
        listed = tomllib.load(file)["fault"]
    faults = [fault for fault in listed if args.only in fault["name"]]
    commit = git("rev-parse", "HEAD").strip()
    found, healthy = [], {}
    for number, fault in enumerate(faults, 1):
        test, path = fault["test"], fault["file"]
        text = open(path).read()
        if text.count(fault["old"]) != 1:
            times = text.count(fault["old"])
            sys.exit(f"error: {path}: this place is there {times} times: {fault['name']}")
        if (key := tuple(test)) not in healthy:
            healthy[key], said = run(test)
            if not healthy[key]:
                command = "cargo test " + " ".join(test)
                sys.exit(f"error: {command} fails without a fault:\n{said[-2000:]}")
        start = time.time()
        try:
            open(path, "w").write(text.replace(fault["old"], fault["new"]))
            built, said = run(test, build_only=True)
            if not built:
                sys.exit(f"error: {fault['name']}: the fault does not build:\n{said[-2000:]}")
            passed, said = run(test)
        finally:
            open(path, "w").write(text)
        failed = sorted({line.split()[1] for line in said.splitlines()
                         if line.startswith("test ") and line.endswith("FAILED")})
        outcome = "missed" if passed else "noticed"
        found.append({"fault": fault["name"], "file": path, "outcome": outcome, "by": failed,
                      "commit": commit, "test": "cargo test --release " + " ".join(test)})
        seconds = time.time() - start
        print(f"{number}/{len(faults)} {outcome}: {fault['name']} {failed} ({seconds:.0f} s)",
              flush=True)
    noticed = sum(x["outcome"] == "noticed" for x in found)
    print(f"{noticed} of {len(found)} faults are noticed")
    if args.results:
        write(args.results, [fault["name"] for fault in listed], found)
    sys.exit(noticed < len(faults))


if __name__ == "__main__":
    main()
