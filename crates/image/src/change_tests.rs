//! Tests of configuration changes.

use super::*;

fn changed(changes: &[&str]) -> std::result::Result<String, String> {
    let mut config = Config::default();
    let changes: Vec<String> = changes.iter().map(|change| (*change).to_owned()).collect();
    apply(&mut config, &changes).map_err(|error| error.to_string())?;
    Ok(serde_json::to_string(&config).unwrap())
}

#[test]
fn instructions_change_the_configuration() {
    let cases: &[(&[&str], &str)] = &[
        (&["CMD [\"a\", \"b c\"]"], r#"{"Cmd":["a","b c"]}"#),
        (&["cmd echo hi"], r#"{"Cmd":["/bin/sh","-c","echo hi"]}"#),
        (&["ENTRYPOINT /x y"], r#"{"Entrypoint":["/bin/sh","-c","/x y"]}"#),
        (&["ENTRYPOINT [\"/x\"]", "ENTRYPOINT []"], "{}"),
        (&["ENV A=1 B=\"two words\" C=3\\ 4", "ENV A=5"], r#"{"Env":["A=5","B=two words","C=3 4"]}"#),
        (&["ENV A the whole rest"], r#"{"Env":["A=the whole rest"]}"#),
        (&["LABEL a=b 'c d'=\"e\""], r#"{"Labels":{"a":"b","c d":"e"}}"#),
        (
            &["EXPOSE 80 53/udp 90-91"],
            r#"{"ExposedPorts":{"53/udp":{},"80/tcp":{},"90/tcp":{},"91/tcp":{}}}"#,
        ),
        (&["VOLUME [\"/a\", \"/b\"]", "VOLUME /c /d"], r#"{"Volumes":{"/a":{},"/b":{},"/c":{},"/d":{}}}"#),
        (&["USER app:app", "STOPSIGNAL SIGINT"], r#"{"User":"app:app","StopSignal":"SIGINT"}"#),
        (&["WORKDIR /a", "WORKDIR b/../c"], r#"{"WorkingDir":"/a/c"}"#),
        (&["ONBUILD RUN make"], r#"{"OnBuild":["RUN make"]}"#),
        (&["HEALTHCHECK NONE"], r#"{"Healthcheck":{"Test":["NONE"]}}"#),
        (
            &["HEALTHCHECK --interval=1m30s --retries=3 CMD curl -f localhost"],
            r#"{"Healthcheck":{"Test":["CMD-SHELL","curl -f localhost"],"Interval":90000000000,"Retries":3}}"#,
        ),
        (
            &["HEALTHCHECK --timeout=500ms CMD [\"true\"]"],
            r#"{"Healthcheck":{"Test":["CMD","true"],"Timeout":500000000}}"#,
        ),
        (&["# a comment\nUSER a\n\nWORKDIR /b"], r#"{"User":"a","WorkingDir":"/b"}"#),
    ];
    for (changes, expected) in cases {
        assert_eq!(changed(changes).as_deref(), Ok(*expected), "{changes:?}");
    }
}

#[test]
fn wrong_instructions_are_refused_with_words() {
    let cases = [
        ("RUN x", "run is not a valid change command"),
        ("FROM scratch", "from is not a valid change command"),
        ("ENV", "ENV requires at least one argument"),
        ("ENV A", "ENV must have two arguments"),
        ("ENV =x", "ENV names can not be blank"),
        ("ENV A=1 B", "Syntax error - can't find = in \"B\". Must be of the form: name=value"),
        ("ENV A=\"x", "unexpected end of statement while looking for a matching quote: A=\"x"),
        ("EXPOSE x", "invalid containerPort: x"),
        ("EXPOSE 80/xyz", "invalid proto: xyz"),
        ("EXPOSE 90-80", "invalid containerPort: 90-80"),
        ("EXPOSE 70000", "invalid containerPort: 70000"),
        ("USER a b", "USER requires exactly one argument"),
        ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
        ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
        ("HEALTHCHECK --interval=soon CMD x", "time: invalid duration \"soon\""),
        ("HEALTHCHECK --interval=1ns CMD x", "Interval \"interval\" cannot be less than 1ms"),
        ("HEALTHCHECK --what CMD x", "unknown flag: --what"),
        ("HEALTHCHECK x", "Unknown type \"X\" in HEALTHCHECK (try CMD)"),
        ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
    ];
    for (change, words) in cases {
        assert_eq!(changed(&[change]), Err(words.to_owned()), "{change:?}");
    }
}

#[test]
fn a_wrong_instruction_changes_nothing() {
    let mut config = Config::default();
    assert!(apply(&mut config, &["USER a".to_owned(), "RUN x".to_owned()]).is_err());
    assert_eq!(config, Config::default());
}
