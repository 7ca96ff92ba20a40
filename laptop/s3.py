"""A real S3 server on this machine, moto's, in a thread of this process; it ends with it."""

import logging
from pathlib import Path

import boto3
from moto.server import ThreadedMotoServer

BUCKET = "laptop"
KEYS = {"AWS_ACCESS_KEY_ID": "laptop", "AWS_SECRET_ACCESS_KEY": "laptop"}  # it takes any


def serve_folders(folders: dict[str, Path], prefix: str) -> tuple[str, dict[str, str]]:
    """Put folders into a new S3.

    Args:
        folders: by the name that each gets below `prefix`.

    Returns:
        The URI of `prefix`, and the environment variables that an AWS client needs to read it.
    """
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it would print each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
    )
    client.create_bucket(Bucket=BUCKET)
    for name, folder in folders.items():
        for file in folder.iterdir():
            client.upload_file(str(file), BUCKET, f"{prefix}/{name}/{file.name}")
    return f"s3://{BUCKET}/{prefix}", KEYS | {"AWS_ENDPOINT_URL": endpoint, "AWS_REGION": "us-east-1"}
