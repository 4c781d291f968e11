//! What is published: the manifest for krew against every rule of krew's own validator, the release workflow against the
//! manifest, and what kubectl asks for.

use std::{collections::BTreeSet, path::Path, process::Command};

use serde_json::{Value, json};

use crate::{
    staged::{Staged, help, plugin},
    world::project_file,
};

/// What krew can install on (its validator's list).
const PLATFORMS: &[(&str, &str)] = &[
    ("windows", "386"),
    ("windows", "amd64"),
    ("windows", "arm64"),
    ("linux", "386"),
    ("linux", "amd64"),
    ("linux", "arm"),
    ("linux", "arm64"),
    ("linux", "ppc64le"),
    ("darwin", "386"),
    ("darwin", "amd64"),
    ("darwin", "arm64"),
];

/// The rules of krew's validator (internal/index/validation and cmd/validate-krew-manifest), each broken one by name.
fn broken_rules(file: &str, manifest: &Value) -> Vec<&'static str> {
    let mut broken = Vec::new();
    let mut rule = |name: &'static str, holds: bool| broken.extend((!holds && !broken.contains(&name)).then_some(name));
    let text = |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let name = text("/metadata/name");
    rule("apiVersion", text("/apiVersion") == "krew.googlecontainertools.github.com/v1alpha2");
    rule("kind", text("/kind") == "Plugin");
    rule("the file is the name and .yaml", file == format!("{name}.yaml"));
    let safe = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let devices = ["CON", "PRN", "AUX", "NUL", "COM1", "COM2", "COM3", "COM4", "LPT1", "LPT2", "LPT3", "LPT4"];
    rule("the name is safe", safe && !devices.contains(&name.to_uppercase().as_str()));
    rule("the version is v and semver", is_version(text("/spec/version")));
    let short = text("/spec/shortDescription");
    rule("a short description on one line", !short.is_empty() && !short.contains(['\n', '\r']));
    rule("what the index's reviewers ask of it", short.len() <= 50 && !short.to_lowercase().contains("plugin"));
    rule(
        "a description and a homepage",
        !text("/spec/description").is_empty() && text("/spec/homepage").starts_with("https://"),
    );
    let platforms = manifest.pointer("/spec/platforms").and_then(Value::as_array).cloned().unwrap_or_default();
    rule("platforms", !platforms.is_empty());
    let mut matched: Vec<(&str, &str)> = Vec::new();
    for platform in &platforms {
        let of = |key: &str| platform[key].as_str().unwrap_or_default();
        rule("uri", of("uri").starts_with("https://"));
        rule("an archive that krew unpacks", of("uri").ends_with(".tar.gz") || of("uri").ends_with(".zip"));
        let hash = of("sha256");
        rule("sha256 in lower case", hash.len() == 64 && hash.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')));
        rule("bin", !of("bin").is_empty());
        let files = platform.get("files");
        rule(
            "files are left out or not empty",
            files.is_none_or(|files| files.as_array().is_some_and(|files| !files.is_empty())),
        );
        for file in files.and_then(Value::as_array).into_iter().flatten() {
            let to = file["to"].as_str().unwrap_or_default();
            rule("to is a clean path", !to.starts_with("./") && !to.contains("..") && !to.contains("//"));
        }
        let selector = &platform["selector"];
        let labels = selector["matchLabels"].as_object();
        rule("a selector that is not empty", labels.is_some_and(|labels| !labels.is_empty()));
        rule("only os and arch", labels.is_none_or(|labels| labels.keys().all(|key| key == "os" || key == "arch")));
        let fits = |(os, arch): &&(&str, &str)| {
            let wanted = |key: &str| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
            wanted("os").is_none_or(|wanted| wanted == *os) && wanted("arch").is_none_or(|wanted| wanted == *arch)
        };
        let here: Vec<_> = PLATFORMS.iter().filter(fits).copied().collect();
        rule("a platform that krew supports", !here.is_empty());
        rule("no two entries for one platform", !here.iter().any(|one| matched.contains(one)));
        rule(
            "Windows programs end with .exe",
            here.iter().all(|(os, _)| *os != "windows") || of("bin").ends_with(".exe"),
        );
        matched.extend(here);
    }
    broken
}

fn is_version(text: &str) -> bool {
    let Some(version) = text.strip_prefix('v') else { return false };
    let numbers = version.split(['-', '+']).next().unwrap_or_default();
    let parts: Vec<_> = numbers.split('.').collect();
    parts.len() == 3 && parts.iter().all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit()))
}

/// The manifest as the release workflow makes it, with archives that are none.
fn rendered() -> Value {
    let folder = tempfile::tempdir().unwrap();
    for target in targets() {
        let kind = if target.contains("windows") { "zip" } else { "tar.gz" };
        std::fs::write(folder.path().join(format!("kubectl-ado-{target}.{kind}")), &target).unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("krew/render");
    let output = Command::new(script).arg("v1.2.3").arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_yaml::from_str(&String::from_utf8(output.stdout).unwrap()).unwrap()
}

/// What the release workflow builds.
fn targets() -> BTreeSet<String> {
    let workflow: Value = serde_yaml::from_str(&project_file(".github/workflows/release.yaml")).unwrap();
    let matrix = workflow.pointer("/jobs/archive/strategy/matrix/include").unwrap().as_array().unwrap();
    matrix.iter().map(|entry| entry["target"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_manifest_for_krew_breaks_no_rule() {
    let manifest = rendered();
    assert_eq!(broken_rules("ado.yaml", &manifest), [""; 0], "{manifest:#}");
    assert_eq!(manifest["spec"]["version"], "v1.2.3");
    let uri = manifest["spec"]["platforms"][0]["uri"].as_str().unwrap();
    assert!(uri.contains("/releases/download/v1.2.3/kubectl-ado-x86_64-unknown-linux-musl.tar.gz"), "{uri}");
}

#[test]
fn each_rule_of_krew_is_known_to_the_test() {
    let good = rendered();
    let with = |pointer: &str, value: Value| {
        let mut manifest = good.clone();
        *manifest.pointer_mut(pointer).unwrap() = value;
        broken_rules("ado.yaml", &manifest)
    };
    for (pointer, value, rule) in [
        ("/apiVersion", json!("v1"), "apiVersion"),
        ("/kind", json!("Pod"), "kind"),
        ("/metadata/name", json!("other"), "the file is the name and .yaml"),
        ("/metadata/name", json!("a/b"), "the name is safe"),
        ("/metadata/name", json!("con"), "the name is safe"),
        ("/spec/version", json!("1.2.3"), "the version is v and semver"),
        ("/spec/version", json!("v1.2"), "the version is v and semver"),
        ("/spec/shortDescription", json!("a\nb"), "a short description on one line"),
        ("/spec/shortDescription", json!("A plugin to do things"), "what the index's reviewers ask of it"),
        ("/spec/platforms", json!([]), "platforms"),
        ("/spec/platforms/0/uri", json!(""), "uri"),
        ("/spec/platforms/0/uri", json!("https://a/b.tar.xz"), "an archive that krew unpacks"),
        ("/spec/platforms/0/sha256", json!("A".repeat(64)), "sha256 in lower case"),
        ("/spec/platforms/0/bin", json!(""), "bin"),
        ("/spec/platforms/0/selector", json!({"matchLabels": {}}), "a selector that is not empty"),
        ("/spec/platforms/0/selector/matchLabels", json!({"os": "linux", "libc": "musl"}), "only os and arch"),
        ("/spec/platforms/0/selector/matchLabels/arch", json!("riscv64"), "a platform that krew supports"),
        ("/spec/platforms/0/selector/matchLabels/arch", json!("arm64"), "no two entries for one platform"),
        ("/spec/platforms/4/bin", json!("kubectl-ado"), "Windows programs end with .exe"),
    ] {
        assert!(with(pointer, value).contains(&rule), "{pointer}: {rule}");
    }
    let mut files = good.clone();
    files["spec"]["platforms"][0]["files"] = json!([]);
    assert_eq!(broken_rules("ado.yaml", &files), ["files are left out or not empty"]);
    files["spec"]["platforms"][0]["files"] = json!([{"from": "*", "to": "./x"}]);
    assert_eq!(broken_rules("ado.yaml", &files), ["to is a clean path"]);
}

#[test]
fn the_manifest_names_what_the_release_builds_and_the_archives_hold_a_licence() {
    let manifest = rendered();
    let platforms = manifest["spec"]["platforms"].as_array().unwrap();
    let named: BTreeSet<String> = platforms
        .iter()
        .map(|platform| {
            let uri = platform["uri"].as_str().unwrap();
            let file = uri.rsplit('/').next().unwrap().trim_start_matches("kubectl-ado-");
            file.trim_end_matches(".tar.gz").trim_end_matches(".zip").to_owned()
        })
        .collect();
    assert_eq!(named, targets());
    let workflow = project_file(".github/workflows/release.yaml");
    for part in [
        "--profile dist",
        ".tar.gz kubectl-ado LICENSE",
        "stage/LICENSE kubectl-ado-${{ matrix.target }}.zip",
        "validate-krew-manifest -manifest plugins/ado.yaml -skip-install",
        "SHA256SUMS",
        "docker/build-push-action",
    ] {
        assert!(workflow.contains(part), "{part}");
    }
    assert!(project_file("LICENSE").contains("MIT"));
    let _: Value = serde_yaml::from_str(&project_file(".github/workflows/ci.yaml")).unwrap();
}

#[test]
fn the_manifest_cannot_be_made_without_the_archives_or_of_an_odd_tag() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("krew/render");
    let folder = tempfile::tempdir().unwrap();
    for (tag, code) in [("v1.2.3", 1), ("1.2.3", 2)] {
        let output = Command::new(&script).arg(tag).arg(folder.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{tag}");
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: "));
    }
}

#[test]
fn each_shell_gets_a_script_and_kubectl_its_program() {
    for (shell, part) in [
        ("bash", "_kubectl__ado()"),
        ("zsh", "#compdef kubectl-ado"),
        ("fish", "complete -c kubectl-ado"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        plugin(&["completion", shell], &[], "").with(0).says(&[part]);
    }
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    plugin(&["completion", "install-shim", "--dir", dir], &[], "").with(0).says(&["wrote "]);
    let shim = folder.path().join("kubectl_complete-ado");
    assert_eq!(std::fs::read_to_string(&shim).unwrap(), "#!/bin/sh\nexec kubectl-ado __complete \"$@\"\n");
    let program = Path::new(env!("CARGO_BIN_EXE_kubectl-ado"));
    let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let output = Command::new(&shim).args(["template", "v"]).env("PATH", path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, "validate\tCheck a Job template: every field, with line and column\n:4\n");
    plugin(&["completion", "install-shim", "--dir", "/nonexistent"], &[], "").with(1).says(&["error: ", "fix: "]);
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_the_cluster_are_completed_and_a_cluster_that_is_gone_is_no_error() {
    let staged = Staged::new("complete", &["Linux", "Windows"]).await;
    staged.healthy(&["Linux", "Windows"]).await;
    let complete = |words: &[&str]| staged.run(&[&["__complete"], words].concat()).with(0).out;
    assert_eq!(complete(&["check", "--pool", "L"]), "Linux\n:4\n");
    assert_eq!(complete(&["check", "--pool="]), "--pool=Linux\n--pool=Windows\n:4\n");
    assert_eq!(complete(&["check", "--context", ""]), "control-plane\n:4\n");
    assert_eq!(complete(&["check", "-n", staged.namespace()]), format!("{}\n:4\n", staged.namespace()));
    let closed = "/nonexistent/kubeconfig";
    let gone = plugin(&["__complete", "check", "--kubeconfig", closed, "-n", ""], &[], "").with(0);
    assert_eq!((gone.out.as_str(), gone.err.as_str()), (":4\n", ""));
}

#[test]
fn permissions_are_printed_for_people_and_for_kubectl() {
    plugin(&["permissions"], &[], "").with(0).says(&["COMMAND", "config set", "coordination.k8s.io"]);
    let yaml = plugin(&["permissions", "auth", "set", "-o", "yaml"], &[], "").with(0).out;
    let role: Value = serde_yaml::from_str(&yaml).unwrap();
    assert_eq!((&role["kind"], &role["metadata"]["name"]), (&json!("Role"), &json!("kubectl-ado-auth-set")));
    assert_eq!(
        role["rules"][2],
        json!({"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["kubectl-ado-token"], "verbs": ["patch"]})
    );
    let list: Value =
        serde_json::from_str(&plugin(&["permissions", "config", "-o", "json"], &[], "").with(0).out).unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    plugin(&["permissions", "demo"], &[], "").with(2).says(&["error: ", "fix: those that do: check, "]);
}

#[test]
fn the_help_of_permissions_and_completion() {
    insta::assert_snapshot!([&["permissions"][..], &["completion"]].map(help).join("\n\n"));
}

#[test]
fn a_release_makes_and_tries_everything_before_anything_of_it_is_public() {
    let text = project_file(".github/workflows/release.yaml");
    let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("no {part:?}"));
    let built = at("outputs: type=oci,dest=");
    let krew = at("go install sigs.k8s.io/krew/cmd/krew@");
    let tried = at("kubectl krew install --manifest plugins/ado.yaml --archive dist/");
    let draft = at("gh release create \"$GITHUB_REF_NAME\" --draft");
    let images = at("skopeo copy --all");
    let public = at("gh release edit \"$GITHUB_REF_NAME\" --draft=false");
    let installed = at("run: validate-krew-manifest -manifest plugins/ado.yaml\n");
    let index = at("git push");
    let order = [built, krew, tried, draft, images, public, installed, index];
    assert!(order.is_sorted(), "{order:?}");
    // What may write has everything else as its condition.
    let workflow: Value = serde_yaml::from_str(&text).unwrap();
    for (name, job) in workflow["jobs"].as_object().unwrap() {
        let writes = job["permissions"].as_object().is_some_and(|rights| rights.values().any(|right| right == "write"));
        assert_eq!(writes, name == "publish", "{name}");
    }
    assert_eq!(workflow["jobs"]["publish"]["needs"], json!(["archive", "images"]));
    assert!(!text.contains("push: true"));
}

#[test]
fn actions_are_named_by_their_commit_and_the_version_stands_beside_it() {
    for file in ["ci", "release"] {
        let text = project_file(&format!(".github/workflows/{file}.yaml"));
        for line in text.lines().filter_map(|line| line.trim_start_matches([' ', '-']).strip_prefix("uses: ")) {
            let (action, version) = line.split_once(" # ").unwrap_or((line, ""));
            let commit = action.split_once('@').map_or("", |(_, commit)| commit);
            assert!(commit.len() == 40 && commit.chars().all(|c| c.is_ascii_hexdigit()), "{file}: {line}");
            assert!(is_version(version), "{file}: {line}");
        }
    }
}
