//! Which topics a device may write and read, for the access rules of a broker.

use crate::ids::{DeviceId, ModelName, Namespace};
use crate::topic::{Channel, Topic, device_filters, trust_filter};

/// What a device may do with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Publish.
    Write,
    /// Subscribe and receive.
    Read,
}

/// Every topic that a device of this fleet with these models may use, and how; what it may read can be filters. No level of a
/// topic that it may write is free, so that it can retain one message of each kind and no more.
#[must_use]
pub fn device_rights(namespace: &Namespace, device: &DeviceId, models: &[ModelName]) -> Vec<(Right, String)> {
    let topic = |channel| Topic { namespace: namespace.clone(), channel }.name();
    let of_model = |model: &ModelName| {
        [Channel::Report(device.clone(), model.clone()), Channel::HeldPlan(device.clone(), model.clone())]
    };
    let reports = models.iter().flat_map(of_model);
    let own = [Channel::Presence(device.clone()), Channel::State(device.clone())];
    let writes = own.into_iter().chain(reports).map(|channel| (Right::Write, topic(channel)));
    let reads = device_filters(namespace, device).into_iter().chain([trust_filter(namespace)]);
    writes.chain(reads.map(|filter| (Right::Read, filter))).collect()
}

/// These rights as a block of an access file of Mosquitto.
#[must_use]
pub fn mosquitto_block(namespace: &Namespace, device: &DeviceId, models: &[ModelName]) -> String {
    let mut block = format!("user {device}\n");
    for (right, topic) in device_rights(namespace, device, models) {
        let word = match right {
            Right::Write => "write",
            Right::Read => "read",
        };
        block.push_str(&format!("topic {word} {topic}\n"));
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_has_no_free_level_in_what_it_writes() {
        let (namespace, device) = ("plant-a".parse().unwrap(), "pump-001".parse().unwrap());
        let models = ["m".parse().unwrap(), "n".parse().unwrap()];
        let rights = device_rights(&namespace, &device, &models);
        let of = |right| rights.iter().filter(move |(r, _)| *r == right).map(|(_, topic)| topic.as_str());
        let writes: Vec<&str> = of(Right::Write).collect();
        assert_eq!(
            writes,
            ["presence", "state", "report/m", "held/m", "report/n", "held/n"]
                .map(|end| format!("mf/1/plant-a/device/f0/pump-001/{end}"))
        );
        assert!(writes.iter().all(|topic| Topic::parse(topic).is_ok() && !topic.contains(['+', '#'])));
        let reads: Vec<&str> = of(Right::Read).collect();
        assert_eq!(
            reads,
            ["mf/1/plant-a/plan/+", "mf/1/plant-a/device/f0/pump-001/override", "mf/1/plant-a/trust"]
        );
    }
}
