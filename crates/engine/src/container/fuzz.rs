//! Files of names in containers' roots, fed with mutated seeds.

use std::fs::File;
use std::io::{Seek, Write};

use super::user::resolve;

#[test]
fn files_of_names() {
    let seeds = [
        "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/srv:/bin/false\nwheel:x:10:root,web\n",
        "web:x:4294967295:-1::/\nweb::99999999999:1:a,b\n",
        "web:x:1:1:::\0\n::::\n+::::::\n",
        // Found: a number that was looked up as a name.
        "-1::3:3::",
    ];
    let file = tempfile();
    fuzz::text("files_of_names", &seeds, |text| {
        file.set_len(0).expect("an empty file");
        (&file).rewind().and_then(|()| (&file).write_all(text.as_bytes())).expect("a file");
        let open = |_: &std::path::Path| {
            let mut again = file.try_clone().expect("another descriptor");
            again.rewind().expect("its beginning");
            Ok(Some(again))
        };
        for number in ["33", "-1", "4294967296:0"] {
            // A number is never looked up as a name.
            if let Ok(resolved) = resolve(number, &[], open) {
                assert_eq!(resolved.user.uid.to_string(), number, "user {number}");
            }
        }
        resolve("web:wheel", &[], open).and_then(|_| resolve("web", &["wheel".to_owned()], open))
    });
}

/// A file without a name.
fn tempfile() -> File {
    let path = std::env::temp_dir().join(format!("berth-test-names-{}", std::process::id()));
    let file =
        File::options().read(true).write(true).create(true).truncate(true).open(&path).expect("a file");
    std::fs::remove_file(path).expect("no name");
    file
}
