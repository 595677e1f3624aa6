//! Files of subordinate ids, fed with mutated seeds.

use super::{subordinate::ranges, to_container, to_host};

#[test]
fn subordinate_ids() {
    let seeds = [
        "me:100000:65536\nyou:165536:65536\n1000:5:5\n# nobody\n\n",
        "me:0:1\nme:4294967295:1\n",
        "me:1:4294967294\nme:9:9:9\n:::\nme:-1:+2\n",
    ];
    fuzz::text("subordinate_ids", &seeds, |text| {
        let found = ranges(text, "/etc/subuid", "me", 1000)?;
        for range in &found {
            assert_ne!(range.host, 0, "root of the host");
            let last = range.count - 1;
            for offset in [0, last] {
                let (inside, outside) = (range.container + offset, range.host + offset);
                assert_eq!(to_host(&found, inside), Some(outside), "{text:?}");
                assert_eq!(to_container(&found, outside), Some(inside), "{text:?}");
            }
        }
        Ok::<_, crate::Error>(found.len())
    });
}
