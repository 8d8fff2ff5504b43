"""Lets boto3 answer questions about EC2, one a line, in the form that
npm/lines.js tells.

usage: boto3_ec2.py CONNECTION
"""

import datetime
import json
import re
import sys

import boto3
import botocore.auth
from botocore.exceptions import ClientError, ParamValidationError

connection = json.loads(sys.argv[1])
back = datetime.timedelta(seconds=connection.get("slow", 0))

if back:
    # The clock of this process is slow.
    class Slow(datetime.datetime):
        @classmethod
        def utcnow(cls):
            return super().utcnow() - back

    botocore.auth.datetime.datetime = Slow

client = boto3.client(
    "ec2",
    endpoint_url=connection["endpoint"],
    region_name=connection["region"],
    aws_access_key_id=connection["key"],
    aws_secret_access_key=connection["secret"],
)


def snake(name):
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def answer(kind, name, params):
    name = snake(name)
    if kind == "pages":
        size = params.pop("MaxResults")
        return list(client.get_paginator(name).paginate(PaginationConfig={"PageSize": size}, **params))
    if kind == "wait":
        return client.get_waiter(name).wait(WaiterConfig={"Delay": 1, "MaxAttempts": 30}, **params)
    if not hasattr(client, name):
        raise LookupError(name)
    return getattr(client, name)(**params)


for line in sys.stdin:
    try:
        reply = {"result": answer(**json.loads(line))}
    except (LookupError, ParamValidationError):
        reply = {"error": {"code": "unknown to the client"}}
    except ClientError as e:
        error, meta = e.response["Error"], e.response["ResponseMetadata"]
        reply = {"error": {"code": error["Code"], "status": meta["HTTPStatusCode"], "message": error["Message"]}}
    print(json.dumps(reply, default=str), flush=True)
