"""Reads role credentials and region with botocore, and with boto3's default
chain. Prints them as JSON.

usage: botocore_imds.py [ENDPOINT]
"""

import json
import sys

import boto3
from botocore.utils import InstanceMetadataFetcher, InstanceMetadataRegionFetcher

config = {}
if len(sys.argv) > 1:
    config["ec2_metadata_service_endpoint"] = sys.argv[1]

role = InstanceMetadataFetcher(config=config).retrieve_iam_role_credentials()
region = InstanceMetadataRegionFetcher(config=config).retrieve_region()
chain = boto3.Session(region_name="us-east-1").get_credentials()
chain = chain and chain.get_frozen_credentials()
json.dump({"role": role, "region": region, "chain": chain and list(chain)}, sys.stdout)
