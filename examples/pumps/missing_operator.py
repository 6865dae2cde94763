"""A model that needs an operator the device does not have: version 1.5.0.

As when a team's workstation has its own operator library and the devices were forgotten: the features
first pass a node of a private domain. No stock engine can load the file.
"""

from onnx import ModelProto, helper

DOMAIN = "com.example.bearing"
OPERATOR = "EnvelopeSpectrum"


def needing_envelope_spectrum(model):
    """A copy of a lean forest that reads its features through the private operator."""
    changed = ModelProto()
    changed.CopyFrom(model)
    ensemble = changed.graph.node[0]
    ensemble.input[0] = "envelope_features"
    changed.graph.node.insert(0, helper.make_node(OPERATOR, ["features"], ["envelope_features"], domain=DOMAIN))
    changed.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    return changed
