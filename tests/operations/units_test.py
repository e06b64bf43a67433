#!/usr/bin/python3
"""Holds the units of a build against systemd's own checks: units_test.py FOLDER_OF_UNITS. 77: systemd-analyze is missing."""
import pathlib
import shutil
import subprocess
import sys
import tempfile

HIGHEST_EXPOSURE = 20  # systemd-analyze counts in tenths
SERVICES = ["chorusd.service", "chorusd@.service", "chorus-retrain.service"]
UNITS = SERVICES + ["chorus-retrain.timer"]


def main(folder: pathlib.Path) -> int:
    if shutil.which("systemd-analyze") is None:
        print("skipped: systemd-analyze is missing (Debian package systemd)")
        return 77
    failures = []
    with tempfile.TemporaryDirectory() as scratch:
        # The programs need not be installed to check their units.
        for unit in UNITS:
            text = (folder / unit).read_text()
            for program in ("chorusd", "chorus-train"):
                text = text.replace(f"=/usr/bin/{program} ", "=/bin/true ")
            (pathlib.Path(scratch) / unit).write_text(text)
        verify = subprocess.run(["systemd-analyze", "verify", "--man=no", *(f"./{unit}" for unit in UNITS)],
                                cwd=scratch, capture_output=True, text=True)
        if verify.returncode != 0 or verify.stderr:
            failures.append(f"systemd-analyze verify: status {verify.returncode}\n{verify.stderr}")
        for service in SERVICES:
            security = subprocess.run(["systemd-analyze", "security", "--offline=yes", "--no-pager",
                                       f"--threshold={HIGHEST_EXPOSURE}", f"./{service}"],
                                      cwd=scratch, capture_output=True, text=True)
            report = security.stdout.splitlines()
            print(report[-1] if report else security.stderr)
            if security.returncode != 0 or not report:
                failures.append("\n".join([f"{service} is more exposed than {HIGHEST_EXPOSURE / 10}:",
                                           *(line for line in report if line.startswith("✗")), security.stderr]))
    for failure in failures:
        print(failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
