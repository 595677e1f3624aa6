//! Descriptions of devices (CDI), fed with mutated seeds.

use super::describe;

#[test]
fn device_descriptions() {
    let seeds = [
        r#"{"cdiVersion":"0.6.0","kind":"vendor.com/gpu","devices":[{"name":"0","containerEdits":{"deviceNodes":[{"path":"/dev/null","type":"c","major":1,"minor":3,"permissions":"rw"}]}}],"containerEdits":{"env":["A=b"],"mounts":[{"hostPath":"/a","containerPath":"/b","options":["ro"]}],"hooks":[{"hookName":"createContainer","path":"/bin/true","args":["true"]}]}}"#,
        r#"{"cdiVersion":"1.0.0","kind":"a.b/c","devices":[{"name":"all","containerEdits":{"additionalGids":[5],"intelRdt":{"closID":"x"}}}]}"#,
    ];
    let path = std::env::temp_dir().join(format!("berth-test-cdi-{}.json", std::process::id()));
    fuzz::bytes("device_descriptions", &seeds, |input| {
        std::fs::write(&path, input).expect("a file");
        describe(&path).map(drop)
    });
    std::fs::remove_file(&path).expect("remove");
}
