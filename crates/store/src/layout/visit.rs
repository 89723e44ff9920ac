//! Which datasets does a file hold?

use hdf5::{Dataset, Group, LocationInfo};

/// Shows every dataset below `group` to `show`, a group's own first, by name, until that returns false. What a link leads to
/// and cannot be opened is passed over, what lies in another file too, and a group is entered once, since links may form a circle.
pub(crate) fn visit_datasets(group: &Group, show: &mut dyn FnMut(&Dataset) -> bool) {
    let (mut pending, mut entered) = (vec![group.clone()], Vec::new());
    let own = group.loc_info().map(|info| info.fileno).ok();
    let is_own = |place: hdf5::Result<LocationInfo>| place.map(|info| info.fileno).ok() == own;
    while let Some(group) = pending.pop() {
        let Ok(place) = group.loc_info().map(|info| (info.fileno, info.token)) else { continue };
        if entered.contains(&place) {
            continue;
        }
        entered.push(place);
        let mut names = group.member_names().unwrap_or_default();
        names.sort();
        if !names
            .iter()
            .filter_map(|name| group.dataset(name).ok())
            .filter(|dataset| is_own(dataset.loc_info()))
            .all(|dataset| show(&dataset))
        {
            return;
        }
        pending.extend(
            names.iter().rev().filter_map(|name| group.group(name).ok()).filter(|group| is_own(group.loc_info())),
        );
    }
}
