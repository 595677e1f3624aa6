//! Templates of `--format`, fed with mutated seeds.

use super::template::Format;

#[test]
fn templates() {
    let seeds = [
        "table {{.ID}}\\t{{.Names}}",
        "{{range .Mounts}}{{.Source}}{{else}}none{{end}}",
        "{{json .}} {{index .Labels \"a.b\"}} {{if eq .State \"running\"}}{{upper .Name}}{{end}}",
        "{{with $x := .Config}}{{$x.Image}}{{end}}{{printf \"%-10s|%q\" .Name .ID}}",
        "{{- .A -}} {{/* c */}} {{split .Image \":\" | join \"/\" | truncate 5}}",
    ];
    fuzz::text("templates", &seeds, |text| {
        Format::parse(text).map(drop).map_err(|failure| format!("{failure:?}"))
    });
}
