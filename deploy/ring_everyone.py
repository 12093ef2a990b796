"""Every instance's first CPU rings the first CPU of every other instance."""

import argparse
import sys

from mkrpc.client import apic
from mkrpc.cluster import find

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--name", default="default", help="the cluster (default: %(default)s)")

client = find(parser.parse_args().name).client
first_cpus = {i.name: i.cpus[0].apic_id for i in client.cluster().instances}
arrived = True
for source, from_apic_id in first_cpus.items():
    for destination, to_apic_id in first_cpus.items():
        if source != destination:
            result = client.write_icr(from_apic_id, to=apic(to_apic_id))
            outcomes = ", ".join(leg.outcome.text for leg in result.legs)
            print(f"  {source} -> {destination}: {outcomes}")
            arrived &= result.all_arrived
client.quiesce()
sys.exit(not arrived)
