//! Topic names (root `mf/1/{namespace}`), built and read in one place.

use crate::ids::{DeviceId, IdError, ModelName, Namespace, shard};

/// First levels of every topic; the digit is the protocol's major version.
pub const ROOT: &str = "mf/1";

/// Longest topic that is looked at: root, namespace, device and model at their limits, and the fixed words.
pub const TOPIC_MAX: usize = 256;

/// One topic of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// The fleet.
    pub namespace: Namespace,
    /// What the topic carries.
    pub channel: Channel,
}

/// What a topic carries, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Channel {
    /// The whole plan for one model (controller, retained).
    Plan(ModelName),
    /// Online or offline, since when (device and its last will, retained).
    Presence(DeviceId),
    /// Labels, capabilities, slots, what runs (device, retained).
    State(DeviceId),
    /// Windows and own history of one model (device, retained).
    Report(DeviceId, ModelName),
    /// Pin, hold or release one device (controller, retained).
    Override(DeviceId),
    /// Which keys count in the fleet (controller, retained).
    Trust,
    /// The signed plan for one model that the device took last, byte for byte; sent when the broker has none (device, not
    /// retained).
    HeldPlan(DeviceId, ModelName),
}

impl Channel {
    /// What channels are called in logs and metrics.
    pub const NAMES: [&'static str; 7] = ["plan", "presence", "state", "report", "override", "held", "trust"];

    /// What the channel is called: one of [`Channel::NAMES`].
    #[must_use]
    pub fn name(&self) -> &'static str {
        let [plan, presence, state, report, order, held, trust] = Channel::NAMES;
        match self {
            Channel::Plan(_) => plan,
            Channel::Presence(_) => presence,
            Channel::State(_) => state,
            Channel::Report(..) => report,
            Channel::Override(_) => order,
            Channel::HeldPlan(..) => held,
            Channel::Trust => trust,
        }
    }
}

/// Why a topic is not one of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// Not of the form `mf/1/{namespace}/...`, or longer than allowed.
    #[error("topic is not of this protocol")]
    Foreign,
    /// A level is not a valid name.
    #[error("topic level")]
    Name(#[from] IdError),
    /// The shard level is not the shard of the device.
    #[error("shard {found:?} is not the one of device {device}")]
    Shard {
        /// What the topic says.
        found: String,
        /// The device it names.
        device: DeviceId,
    },
}

impl Topic {
    /// The topic's name.
    #[must_use]
    pub fn name(&self) -> String {
        let ns = &self.namespace;
        match &self.channel {
            Channel::Plan(model) => format!("{ROOT}/{ns}/plan/{model}"),
            Channel::Presence(id) => format!("{}/presence", device_root(ns, id)),
            Channel::State(id) => format!("{}/state", device_root(ns, id)),
            Channel::Report(id, model) => format!("{}/report/{model}", device_root(ns, id)),
            Channel::Override(id) => format!("{}/override", device_root(ns, id)),
            Channel::Trust => format!("{ROOT}/{ns}/trust"),
            Channel::HeldPlan(id, model) => format!("{}/held/{model}", device_root(ns, id)),
        }
    }

    /// Reads a topic's name.
    ///
    /// # Errors
    /// When it is not a topic of this protocol, or its shard is not the device's.
    pub fn parse(name: &str) -> Result<Topic, TopicError> {
        if name.len() > TOPIC_MAX {
            return Err(TopicError::Foreign);
        }
        let rest = name.strip_prefix(ROOT).and_then(|r| r.strip_prefix('/')).ok_or(TopicError::Foreign)?;
        let mut levels = rest.split('/');
        let namespace: Namespace = levels.next().ok_or(TopicError::Foreign)?.parse()?;
        let levels: Vec<&str> = levels.collect();
        let channel = match levels.as_slice() {
            ["trust"] => Channel::Trust,
            ["plan", model] => Channel::Plan(model.parse()?),
            ["device", sh, id, "presence"] => Channel::Presence(device(sh, id)?),
            ["device", sh, id, "state"] => Channel::State(device(sh, id)?),
            ["device", sh, id, "report", model] => Channel::Report(device(sh, id)?, model.parse()?),
            ["device", sh, id, "override"] => Channel::Override(device(sh, id)?),
            ["device", sh, id, "held", model] => Channel::HeldPlan(device(sh, id)?, model.parse()?),
            _ => return Err(TopicError::Foreign),
        };
        Ok(Topic { namespace, channel })
    }
}

fn device(found: &str, id: &str) -> Result<DeviceId, TopicError> {
    let device: DeviceId = id.parse()?;
    if found == format!("{:02x}", shard(&device)) {
        Ok(device)
    } else {
        Err(TopicError::Shard { found: found.chars().take(8).collect(), device })
    }
}

/// Where everything of one device lives: `mf/1/{namespace}/device/{shard}/{id}`.
#[must_use]
pub fn device_root(namespace: &Namespace, device: &DeviceId) -> String {
    format!("{ROOT}/{namespace}/device/{:02x}/{device}", shard(device))
}

/// What a controller subscribes to, for a namespace that it manages: presence, state, reports, in this order, plans that
/// devices hold, and the overrides that the broker holds. A report is looked at when something is known of its model, and the state may be what says so.
#[must_use]
pub fn controller_filters(namespace: &Namespace) -> [String; 5] {
    ["presence", "state", "report/+", "held/+", "override"]
        .map(|channel| format!("{ROOT}/{namespace}/device/+/+/{channel}"))
}

/// What a device subscribes to that follows a trust document, besides [`device_filters`].
#[must_use]
pub fn trust_filter(namespace: &Namespace) -> String {
    Topic { namespace: namespace.clone(), channel: Channel::Trust }.name()
}

/// What a device subscribes to: every plan of its namespace, and its own override.
#[must_use]
pub fn device_filters(namespace: &Namespace, device: &DeviceId) -> [String; 2] {
    [format!("{ROOT}/{namespace}/plan/+"), format!("{}/override", device_root(namespace, device))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_reads_back() {
        let (id, model): (DeviceId, ModelName) =
            ("pump-001".parse().unwrap(), "pump-anomaly".parse().unwrap());
        let mut names = Vec::new();
        for channel in [
            Channel::Plan(model.clone()),
            Channel::Presence(id.clone()),
            Channel::State(id.clone()),
            Channel::Report(id.clone(), model.clone()),
            Channel::Override(id.clone()),
            Channel::HeldPlan(id, model),
            Channel::Trust,
        ] {
            let topic = Topic { namespace: "plant-a".parse().unwrap(), channel };
            assert_eq!(Topic::parse(&topic.name()).unwrap(), topic);
            names.push(topic.channel.name());
        }
        assert_eq!(names, Channel::NAMES);
    }

    #[test]
    fn foreign_and_forged_topics_are_refused() {
        for bad in ["", "mf", "mf/1", "mf/1/", "mf/2/a/plan/m", "mf/1/a/plan/m/x", "mf/1/a/device/zz/d/state"]
        {
            assert!(Topic::parse(bad).is_err(), "{bad:?}");
        }
        let name = format!("{ROOT}/a/device/00/pump-001/state");
        assert!(matches!(Topic::parse(&name), Err(TopicError::Shard { .. })), "shard of another device");
    }
}
