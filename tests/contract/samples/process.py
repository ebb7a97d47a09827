from reconciler.errors import Origin
from reconciler.resources.attended import attendant_process
from tests.contract.sample import Sample

SAMPLE = Sample(spec=attendant_process(Origin()))
