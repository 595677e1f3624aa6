//! `system check`: content, layers, records and the database damaged on purpose, found, and repaired as far as can be.

use super::doors::in_a_box;
use crate::check::{Check, contains, same};
use crate::scope::Scope;
use anyhow::Result;

const AREA: &str = "content";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new(AREA, "system check finds nothing wrong with what is sound", sound),
        Check::new(AREA, "system check finds damaged content, and the image is pulled again", damaged),
        Check::new(AREA, "system check finds missing content, and says what still works", missing),
        Check::new(
            AREA,
            "system check finds a layer without its directory, which is unpacked again",
            no_layer,
        ),
        Check::new(AREA, "system check finds what is no content, and removes it", strange),
        Check::new(AREA, "system check makes images of content when the database is lost", rebuilt),
        Check::new(AREA, "a record that was changed on the disk is not believed", record),
        Check::new(
            AREA,
            "containers, volumes, networks and names are recorded again from a database that does not open",
            salvaged,
        ),
        Check::new(AREA, "a daemon makes its database anew, and all that it knows is in it", made_anew),
    ]
}

/// A daemon with an image `app:1` of one layer; `$root` is its data root, `$id` the image's digits, `$layer` its layer's.
const PRELUDE: &str = r#"
    mkdir tree; "$bb" echo content > tree/file; "$bb" cp "$bb" tree/busybox
    up --bridge none
    root=$("$d" info --format '{{.DockerRootDir}}')
    made() { "$bb" tar -C tree -c . > app.tar; id=$("$d" import app.tar app:1); id=${id#sha256:}
        layer=$(sed 's/.*"layers":\[{[^}]*"digest":"sha256:\([0-9a-f]*\).*/\1/' $root/blobs/sha256/$id); }
    check() { "$b" system check "$@" 2>/dev/null | sed "s/$id/ID/g; s/$layer/LAYER/g; s|$root|ROOT|g"; }
    usable() { "$d" create --network none --name user app:1 /busybox > /dev/null && "$d" cp user:/file - | "$bb" tar -x -O -f - && "$d" rm user > /dev/null; }
    made"#;

fn script(scope: &Scope<'_>, script: &str) -> Result<String> {
    let output = in_a_box(scope, &format!("{PRELUDE}\n{script}\ndown"))?;
    same(&output.stderr.clone(), output.code, 0)?;
    Ok(output.stdout)
}

fn sound(scope: &Scope<'_>) -> Result<()> {
    same("said", script(scope, "check; usable")?, "Everything is as it should be.\ncontent\n")
}

fn damaged(scope: &Scope<'_>) -> Result<()> {
    let said = script(
        scope,
        r#"printf z | dd of=$root/blobs/sha256/$layer conv=notrunc 2>/dev/null
        check; check --repair; made > /dev/null; check; usable"#,
    )?;
    same(
        "said",
        said,
        "problem: content sha256:LAYER is damaged\n\
         problem: content sha256:LAYER is damaged\n\
         problem: image docker.io/library/app:1: content sha256:LAYER is missing: it runs, but cannot be pushed or saved; pull it again\n\
         repaired: removed damaged content sha256:LAYER: pull its image again\n\
         Everything is as it should be.\ncontent\n",
    )
}

fn missing(scope: &Scope<'_>) -> Result<()> {
    let said = script(
        scope,
        r#"rm $root/blobs/sha256/$layer; check; usable
        rm -r $root/layers/sha256/*; check --repair; "$d" images -q; check"#,
    )?;
    same(
        "said",
        said,
        "problem: image docker.io/library/app:1: content sha256:LAYER is missing: it runs, but cannot be pushed or saved; pull it again\n\
         content\n\
         problem: layer sha256:LAYER has a record and no directory\n\
         problem: image docker.io/library/app:1: content sha256:LAYER is missing: it cannot be run; pull it again\n\
         repaired: layer sha256:LAYER will be unpacked again when it is needed\n\
         repaired: removed the name docker.io/library/app:1: pull it again\n\
         Everything is as it should be.\n",
    )
}

fn no_layer(scope: &Scope<'_>) -> Result<()> {
    let said = script(scope, "rm -r $root/layers/sha256/*; check --repair; check; usable")?;
    same(
        "said",
        said,
        "problem: layer sha256:LAYER has a record and no directory\n\
         repaired: layer sha256:LAYER will be unpacked again when it is needed\n\
         Everything is as it should be.\ncontent\n",
    )
}

fn strange(scope: &Scope<'_>) -> Result<()> {
    let said = script(
        scope,
        "echo x > $root/blobs/sha256/notes; mkdir $root/blobs/sha512/d; check --repair; check",
    )?;
    same(
        "said",
        said,
        "problem: ROOT/blobs/sha256/notes is not content\n\
         problem: ROOT/blobs/sha512/d is not content\n\
         repaired: removed ROOT/blobs/sha256/notes\n\
         repaired: removed ROOT/blobs/sha512/d\n\
         Everything is as it should be.\n",
    )
}

fn rebuilt(scope: &Scope<'_>) -> Result<()> {
    let said = script(
        scope,
        r#"down
        "$bb" head -c 1000000 /dev/zero | "$bb" tr '\0' x > $root/records/records.redb
        "$b" system check --data-root $root 2>&1 | head -c 300; echo; echo --
        "$b" system check --data-root $root --repair 2>&1 | sed "s/$id/ID/g"; echo --
        up --bridge none; "$d" tag $id app:1; usable; check"#,
    )?;
    contains("said", &said, "repaired: image sha256:ID can be used by its ID again")?;
    contains("said", &said, "repaired: the damaged database is now ")?;
    same("the end", said.ends_with("--\ncontent\nEverything is as it should be.\n"), true)
        .map_err(|_| anyhow::anyhow!("the image is not usable again:\n{said}"))
}

/// One byte of each copy of a record: checksums of the database or the record's own form tell, and what it said follows
/// from content.
fn record(scope: &Scope<'_>) -> Result<()> {
    let said = script(
        scope,
        r#"down
        file=$root/records/records.redb
        for at in $(LC_ALL=C grep -obUa '{"target"' $file | cut -d: -f1); do printf '!' | dd of=$file bs=1 seek=$at conv=notrunc 2>/dev/null; done
        "$b" system check --data-root $root > look 2>&1 || grep -c -e problem -e 'is damaged' look | "$bb" sed 's/[1-9]/noticed/'; echo --
        "$b" system check --data-root $root --repair 2>&1 | sed "s/$id/ID/g"; echo --
        up --bridge none; "$d" tag $id app:1; usable; check"#,
    )?;
    contains("the look", &said, "noticed")?;
    contains("the repair", &said, "repaired: image sha256:ID can be used by its ID again")?;
    same("the end", said.ends_with("--\ncontent\nEverything is as it should be.\n"), true)
        .map_err(|_| anyhow::anyhow!("the image is not usable again:\n{said}"))
}

/// The head of the database is lost, its other pages are there: what they tell and the disk bears out is back, and what was
/// removed is not.
fn salvaged(scope: &Scope<'_>) -> Result<()> {
    let said = script(
        scope,
        r#"d() { "$d" "$@"; }
        d volume create --label colour=red kept > /dev/null; "$bb" echo inside > $root/volumes/kept/_data/f
        d network create --internal kept > /dev/null
        d run --network none --name kept -v kept:/v app:1 /busybox touch /made
        d run --network none --name gone app:1 /busybox true; d rm gone > /dev/null
        d run --network none --name fails app:1 /busybox false || echo "code $?"
        down
        "$bb" head -c 4096 /dev/zero | "$bb" tr '\0' x | dd of=$root/records/records.redb conv=notrunc 2> /dev/null
        "$b" system check --data-root $root --repair | sed 's/[0-9a-f]\{12\}/ID/'
        up --bridge none; echo --
        d ps -a --format '{{.Names}} {{.State}} {{.Image}}' | sort
        d inspect --format '{{.State.ExitCode}}' fails
        d volume inspect --format '{{.Labels}}' kept; cat $root/volumes/kept/_data/f
        d network inspect --format '{{.Internal}}' kept
        d cp kept:/made - | "$bb" tar -t -f -
        d start -a kept && echo started; d rm kept fails > /dev/null
        usable; check"#,
    )?;
    for line in ["the container kept (ID)", "the network kept", "the volume kept", "the image app:1"] {
        contains("said", &said, &format!("repaired: {line} has its "))?;
    }
    let after = said.split("--\n").nth(1).unwrap_or_default();
    same(
        "afterwards",
        after,
        "fails exited app:1\nkept exited app:1\n1\nmap[colour:red]\ninside\ntrue\nmade\nstarted\ncontent\n\
         Everything is as it should be.\n",
    )
}

/// A page of the database is damaged under a daemon that runs: it makes another one of what it knows, its containers run on,
/// and the next daemon finds everything.
fn made_anew(scope: &Scope<'_>) -> Result<()> {
    let said = script(
        scope,
        r#"d() { "$d" "$@"; }
        d volume create --label colour=red kept > /dev/null
        d network create --internal kept > /dev/null
        d run -d --network none --name runs -v kept:/v app:1 /busybox sleep 1000 > /dev/null
        d run --network none --name fails app:1 /busybox false || echo "code $?"
        file=$root/records/records.redb
        for at in $(LC_ALL=C grep -obUa colour $file | cut -d: -f1); do printf '!' | dd of=$file bs=1 seek=$at conv=notrunc 2>/dev/null; done
        "$b" system check > look 2> /dev/null || grep -c 'problem: the database' look
        "$b" system check --repair | grep -c 'were recorded anew'
        check; d create --network none --name later app:1 /busybox true > /dev/null
        down; up --bridge none; echo --
        d ps -a --format '{{.Names}} {{.State}} {{.Image}}' | sort
        d inspect --format '{{.State.ExitCode}}' fails
        d volume inspect --format '{{.Labels}}' kept
        d network inspect --format '{{.Internal}}' kept
        d exec runs /busybox echo inside; d rm -f runs fails later > /dev/null
        usable; check"#,
    )?;
    same(
        "said",
        said,
        "code 1\n1\n1\nEverything is as it should be.\n--\n\
         fails exited app:1\nlater created app:1\nruns running app:1\n1\nmap[colour:red]\ntrue\ninside\ncontent\n\
         Everything is as it should be.\n",
    )
}
