"""Certificates that nobody may take, and gRPC calls with any certificate."""
import os
import subprocess

import world

# How a kind is named in a certificate, and who signs for it.
KINDS = {"an SAE": ("sae/sae-1", "sae-ca"), "a node": ("node/n2", "node-ca"),
         "a module": ("module/qkd-n1-n2", "node-ca"), "an operator": ("operator/demo",
                                                                      "operator-ca")}


def openssl(*words):
    done = subprocess.run(["openssl", *words], capture_output=True, text=True)
    world.expect(done.returncode == 0, f"openssl {words[0]}: {done.stderr}")


def request(folder, name, uri):
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
            f"/CN={uri.split('/')[1]}", "-keyout", f"{folder}/{name}.key", "-out",
            f"{folder}/{name}.csr")
    with open(f"{folder}/{name}.ext", "w") as f:
        f.write(f"subjectAltName=URI:keyhop://{uri}\nextendedKeyUsage=clientAuth,serverAuth\n")


def make_bad(demo, folder):
    """{kind: {what is wrong: (certificate, key)}}"""
    os.makedirs(folder)
    pki = os.path.join(demo.run_dir, "pki")
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-subj", "/CN=Another CA", "-keyout", f"{folder}/foreign-ca.key", "-out",
            f"{folder}/foreign-ca.crt")
    bad = {}
    for number, (kind, (uri, ca)) in enumerate(KINDS.items()):
        expired, foreign = f"expired-{number}", f"foreign-{number}"
        request(folder, expired, uri)
        db = f"{folder}/ca-{number}"
        os.makedirs(db)
        with open(f"{db}/cnf", "w") as f:
            f.write(f"[ca]\ndefault_ca=d\n[d]\ndatabase={db}/index\nserial={db}/serial\n"
                    f"new_certs_dir={db}\ndefault_md=sha256\npolicy=p\nunique_subject=no\n"
                    "[p]\ncommonName=supplied\n")
        open(f"{db}/index", "w").close()
        with open(f"{db}/serial", "w") as f:
            f.write("1000\n")
        openssl("ca", "-batch", "-notext", "-config", f"{db}/cnf", "-cert", f"{pki}/{ca}.crt",
                "-keyfile", f"{pki}/ca/{ca}.key", "-startdate", "20200101000000Z", "-enddate",
                "20210101000000Z", "-in", f"{folder}/{expired}.csr", "-out",
                f"{folder}/{expired}.crt", "-extfile", f"{folder}/{expired}.ext")
        request(folder, foreign, uri)
        openssl("x509", "-req", "-in", f"{folder}/{foreign}.csr", "-CA", f"{folder}/foreign-ca.crt",
                "-CAkey", f"{folder}/foreign-ca.key", "-CAcreateserial", "-days", "9", "-extfile",
                f"{folder}/{foreign}.ext", "-out", f"{folder}/{foreign}.crt")
        bad[kind] = {f"{kind}, {why}": (f"{folder}/{name}.crt", f"{folder}/{name}.key")
                     for why, name in (("expired", expired), ("of a foreign CA", foreign))}
    return bad


def revoke(demo, folder, certificate):
    """Has the SAEs' CA revoke a certificate; its CRL joins the trust store of all nodes."""
    pki = os.path.join(demo.run_dir, "pki")
    os.makedirs(folder)
    for name, text in (("index", ""), ("number", "01\n"), ("cnf", (
            f"[ca]\ndefault_ca=d\n[d]\ndatabase={folder}/index\ncrlnumber={folder}/number\n"
            "default_md=sha256\ndefault_crl_days=30\n"))):
        with open(os.path.join(folder, name), "w") as f:
            f.write(text)
    ca = ("-config", f"{folder}/cnf", "-cert", f"{pki}/sae-ca.crt", "-keyfile",
          f"{pki}/ca/sae-ca.key")
    openssl("ca", *ca, "-revoke", certificate)
    openssl("ca", *ca, "-gencrl", "-out", f"{folder}/crl")
    with open(f"{folder}/crl") as crl, open(f"{pki}/sae-ca.crt") as trusted:
        both = trusted.read() + crl.read()
    with open(f"{folder}/both", "w") as f:
        f.write(both)
    os.replace(f"{folder}/both", f"{pki}/sae-ca.crt")


def grpc_call(described, address, method, files, body, seconds=5, kept="/dev/null"):
    """(exit code of curl, head and trailers) of one gRPC call by hand; its messages go to `kept`."""
    done = subprocess.run(
        ["curl", "-sS", "--http2", "--max-time", str(seconds), "--cacert", described["ca"], "--cert",
         files[0], "--key", files[1], "-H", "content-type: application/grpc", "-H",
         "te: trailers", "--data-binary", "@-", "-D", "-", "-o", kept,
         f"https://{address}{method}"], input=body, capture_output=True)
    return done.returncode, done.stdout.decode(errors="replace").lower()
