//! The devices that people are told of, where there are too many to name: the first by id, whatever order they come in.

use modelfleet_protocol::ids::DeviceId;

/// Keeps `made` in `list`, which is in the order of ids, when it is one of the first `most`.
pub(crate) fn keep_first<T>(
    list: &mut Vec<T>,
    most: usize,
    id: &DeviceId,
    id_of: impl Fn(&T) -> &DeviceId,
    made: impl FnOnce() -> T,
) {
    if list.len() >= most && list.last().is_none_or(|last| id_of(last) < id) {
        return;
    }
    let at = list.partition_point(|known| id_of(known) < id);
    list.insert(at, made());
    list.truncate(most);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_by_id_are_kept_in_order() {
        let ids: Vec<DeviceId> = ["d", "b", "e", "a", "c"].iter().map(|id| id.parse().unwrap()).collect();
        let kept = |most| {
            let mut list = Vec::new();
            ids.iter().for_each(|id| keep_first(&mut list, most, id, |known| known, || id.clone()));
            list.iter().map(ToString::to_string).collect::<String>()
        };
        assert_eq!((kept(0), kept(3), kept(9)), (String::new(), "abc".to_owned(), "abcde".to_owned()));
    }
}
