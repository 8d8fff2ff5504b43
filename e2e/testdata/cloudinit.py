"""Runs one data source of cloud-init against a metadata service.

usage: cloudinit.py CLOUDINIT_DIRECTORY DATASOURCE CONFIG_FILE WORK_DIRECTORY

Prints as JSON what cloud-init would act on. The code is the package's own; two
things are made up: what the firmware says of the machine, and where files go.
"""

import base64
import json
import logging
import sys

code, name, config, work = sys.argv[1:]
sys.path.insert(0, code)

from cloudinit import dmi, helpers, util  # noqa: E402
from cloudinit.sources import DataSourceAliYun, DataSourceEc2  # noqa: E402

FIRMWARE = {
    "Ec2": {
        "system-uuid": "ec2e1916-9099-7caf-fd21-012345abcdef",
        "system-serial-number": "ec2e1916-9099-7caf-fd21-012345abcdef",
        "system-manufacturer": "Amazon EC2",
    },
    "AliYun": {
        "system-product-name": "Alibaba Cloud ECS",
        "system-manufacturer": "Alibaba Cloud",
    },
}

logging.basicConfig(stream=sys.stderr, level=logging.DEBUG, force=True)
dmi.read_dmi_data = FIRMWARE[name].get

source = {
    "Ec2": DataSourceEc2.DataSourceEc2,
    "AliYun": DataSourceAliYun.DataSourceAliYun,
}[name](
    util.read_conf(config),
    None,
    helpers.Paths({"cloud_dir": work, "run_dir": work}),
)

found = source.get_data()
result = {"found": found}
if found:
    result.update(
        cloud=source.cloud_name,
        instance_id=source.get_instance_id(),
        hostname=source.get_hostname(fqdn=True).hostname,
        zone=source.availability_zone,
        region=source.region,
        launch_index=source.launch_index,
        public_keys=source.get_public_ssh_keys(),
        metadata=source.metadata,
        userdata=base64.b64encode(source.get_userdata_raw() or b"").decode(),
        network=source.network_config,
    )
json.dump(result, sys.stdout)
