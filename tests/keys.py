#!/usr/bin/env python3
"""Looks at the key files of just-in-time agents with another implementation of RSA than the one that made them:

    cargo run --release --example agent_keys -- 1000 | python3 tests/keys.py

Each line is a file `.credentials_rsaparams`. The agent (.NET's RSA.ImportParameters) takes each number at its exact length
alone. Here each one is measured, each key is loaded, which checks that its numbers belong together, signs (RS256), and
verifies with what its public half says. Ends with 1 at the first key that is wrong. Needs Python 3 with `cryptography`:

    python3 -m venv /tmp/keys && /tmp/keys/bin/pip install cryptography
"""

import base64
import json
import sys

try:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, rsa
except ImportError:
    sys.exit("error: there is no Python library cryptography; fix: python3 -m pip install cryptography")

LENGTHS = {"modulus": 256, "d": 256, "p": 128, "q": 128, "dp": 128, "dq": 128, "inverseQ": 128}
NAMES = {"ContainerName", "UseCng", "exponent", *LENGTHS}
MESSAGE = b"header.claims"


def check(line):
    """The numbers of one key that are shorter than they may be. Raises ValueError where something is wrong."""
    file = json.loads(line)
    if set(file) != NAMES:
        raise ValueError(f"its names are {sorted(file)}")
    if file["exponent"] != "AQAB":
        raise ValueError(f"exponent is {file['exponent']}")
    fields = {name: base64.b64decode(file[name], validate=True) for name in LENGTHS}
    for name, length in LENGTHS.items():
        if len(fields[name]) != length:
            raise ValueError(f"{name} has {len(fields[name])} bytes instead of {length}")
    number = {name: int.from_bytes(value, "big") for name, value in fields.items()}
    public = rsa.RSAPublicNumbers(e=65537, n=number["modulus"])
    private = rsa.RSAPrivateNumbers(
        p=number["p"],
        q=number["q"],
        d=number["d"],
        dmp1=number["dp"],
        dmq1=number["dq"],
        iqmp=number["inverseQ"],
        public_numbers=public,
    )
    signature = private.private_key().sign(MESSAGE, padding.PKCS1v15(), hashes.SHA256())
    public.public_key().verify(signature, MESSAGE, padding.PKCS1v15(), hashes.SHA256())
    return [name for name, value in fields.items() if value[0] == 0]


def main():
    keys = padded = 0
    by_name = dict.fromkeys(LENGTHS, 0)
    moduli = set()
    for keys, line in enumerate(sys.stdin, start=1):
        try:
            short = check(line)
            modulus = json.loads(line)["modulus"]
            if modulus in moduli:
                raise ValueError("it was there before")
            moduli.add(modulus)
        except Exception as error:  # whatever it is, the key is not good
            print(f"error: key {keys}: {type(error).__name__}: {error}", file=sys.stderr)
            return 1
        padded += bool(short)
        for name in short:
            by_name[name] += 1
    if not keys:
        print("error: there are no keys; fix: cargo run --release --example agent_keys -- 1000 | python3 tests/keys.py", file=sys.stderr)
        return 1
    which = ", ".join(f"{name} {count}" for name, count in by_name.items() if count)
    print(f"{keys} keys are good; {padded} of them needed padding ({which or 'none'})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
