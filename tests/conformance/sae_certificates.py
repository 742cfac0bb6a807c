"""Certificates that no KME may take as an SAE's."""
import os
import subprocess

import certificates
import world


def openssl(*words):
    done = subprocess.run(["openssl", *words], capture_output=True, text=True)
    world.expect(done.returncode == 0, f"openssl {words[0]}: {done.stderr}")


def make(demo, folder):
    """{kind: (cert, key)}"""
    os.makedirs(folder)
    ca = os.path.join(demo.run_dir, "pki", "sae-ca.crt")
    ca_key = os.path.join(demo.run_dir, "pki", "ca", "sae-ca.key")
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
            "/CN=Another CA", "-keyout", f"{folder}/foreign.ca.key", "-out", f"{folder}/foreign.ca.crt")
    with open(f"{folder}/ca.cnf", "w") as f:
        f.write(f"[ca]\ndefault_ca=d\n[d]\ndatabase={folder}/index\nserial={folder}/serial\n"
                f"new_certs_dir={folder}\ndefault_md=sha256\npolicy=p\nunique_subject=no\n"
                "[p]\ncommonName=supplied\n")
    open(f"{folder}/index", "w").close()
    with open(f"{folder}/serial", "w") as f:
        f.write("1000\n")
    with open(f"{folder}/sae.ext", "w") as f:
        f.write("subjectAltName=URI:keyhop://sae/sae-1\nextendedKeyUsage=clientAuth\n")
    made = {}
    for kind, signer, start, end in [
            ("revoked", (ca, ca_key), "20200101000000Z", "20900101000000Z"),
            ("expired", (ca, ca_key), "20200101000000Z", "20210101000000Z"),
            ("not-yet-valid", (ca, ca_key), "20900101000000Z", "20910101000000Z"),
            ("foreign-CA", (f"{folder}/foreign.ca.crt", f"{folder}/foreign.ca.key"),
             "20200101000000Z", "20900101000000Z")]:
        files = f"{folder}/{kind}.crt", f"{folder}/{kind}.key"
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                "/CN=sae-1", "-keyout", files[1], "-out", f"{folder}/{kind}.csr")
        openssl("ca", "-batch", "-notext", "-config", f"{folder}/ca.cnf", "-cert", signer[0],
                "-keyfile", signer[1], "-startdate", start, "-enddate", end, "-in",
                f"{folder}/{kind}.csr", "-out", files[0], "-extfile", f"{folder}/sae.ext")
        made[kind] = files
    certificates.revoke(demo, os.path.join(folder, "revoked"), made["revoked"][0])
    node, operator = demo.world["nodes"][1], demo.world["operator"]
    made["node's"] = node["cert"], node["key"]
    made["operator's"] = operator["cert"], operator["key"]
    return made
