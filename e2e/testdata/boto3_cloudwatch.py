"""Lets boto3 answer questions about CloudWatch, one a line, in the form that
npm/lines.js tells.

usage: boto3_cloudwatch.py CONNECTION
"""

import json
import re
import sys

import boto3
from botocore.exceptions import ClientError

connection = json.loads(sys.argv[1])
client = boto3.client(
    "cloudwatch",
    endpoint_url=connection["endpoint"],
    region_name=connection["region"],
    aws_access_key_id=connection["key"],
    aws_secret_access_key=connection["secret"],
)

for line in sys.stdin:
    question = json.loads(line)
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", question["name"]).lower()
    try:
        reply = {"result": getattr(client, name)(**question["params"])}
    except ClientError as e:
        error, meta = e.response["Error"], e.response["ResponseMetadata"]
        reply = {"error": {"code": error["Code"], "status": meta["HTTPStatusCode"], "message": error["Message"]}}
    print(json.dumps(reply, default=str), flush=True)
