//! What a body has to be, and what of it is shown.

use super::*;

/// The body with a change.
fn with(path: &str, value: Value) -> Value {
    let mut body = body();
    let (parent, name) = path.rsplit_once('/').unwrap();
    body.pointer_mut(parent).unwrap()[name] = value;
    body
}

fn refused(body: Value) -> String {
    let refusal = put(&mut groups(), "one", body, 0.0).unwrap_err();
    assert_eq!(refusal.status, 400, "{refusal}");
    refusal.code.to_owned()
}

#[test]
fn unknown_missing_and_mistyped_members_are_refused() {
    let agent = "/properties/containers/0/properties";
    for (path, value) in [
        ("/colour", json!("red")),
        ("/properties/colour", json!("red")),
        (&format!("{agent}/colour"), json!("red")),
        ("/location", Value::Null),
        ("/properties/osType", json!("Plan 9")),
        ("/properties/osType", Value::Null),
        ("/properties/restartPolicy", json!("Sometimes")),
        ("/properties/containers", json!({})),
        (&format!("{agent}/image"), Value::Null),
        (&format!("{agent}/resources/requests/cpu"), json!("1")),
        (&format!("{agent}/resources/requests/memoryInGB"), Value::Null),
        (&format!("{agent}/environmentVariables"), json!([{ "value": "x" }])),
        ("/properties/subnetIds", json!(["/subscriptions/x"])),
        ("/tags", json!({ "a": 1 })),
    ] {
        assert_eq!(refused(with(path, value)), "InvalidRequestContent", "{path}");
    }
    let refusal = put(&mut groups(), "one", with("/properties/colour", json!(1)), 0.0).unwrap_err();
    assert!(refusal.message.contains("member 'colour' on object of type 'ContainerGroupProperties'"), "{refusal}");
}

#[test]
fn names_are_lower_case_letters_digits_and_hyphens() {
    for name in ["", "A", "-a", "a-", "a_b", "a.b", &"a".repeat(64)] {
        assert_eq!(code(put(&mut groups(), name, body(), 0.0)), (400, "InvalidContainerGroupName"), "{name}");
    }
    for name in ["a", "0", "a--b", &"a".repeat(63)] {
        assert!(put(&mut groups(), name, body(), 0.0).is_ok(), "{name}");
    }
    assert_eq!(refused(with("/properties/containers/0/name", json!("The Agent"))), "InvalidContainerName");
}

#[test]
fn tags_have_limits() {
    let many: Value = (0..51).map(|number| (number.to_string(), json!(""))).collect::<serde_json::Map<_, _>>().into();
    assert_eq!(refused(with("/tags", many)), "TooManyTags");
    for name in ["a<b", "a>b", "a%b", "a&b", "a\\b", "a?b", "a/b", &"a".repeat(513)] {
        assert_eq!(refused(with("/tags", json!({ name: "" }))), "InvalidTagNameCharacters", "{name}");
    }
    assert_eq!(refused(with("/tags", json!({ "a": "b".repeat(257) }))), "TagValueTooLong");
    assert!(put(&mut groups(), "one", with("/tags", json!({ "a": "b/<>".repeat(64) })), 0.0).is_ok());
}

#[test]
fn variables_have_one_value() {
    let path = "/properties/containers/0/properties/environmentVariables";
    for variable in [json!({ "name": "A" }), json!({ "name": "A", "value": "", "secureValue": "" })] {
        assert_eq!(refused(with(path, json!([variable]))), "InvalidEnvironmentVariableType");
    }
    assert!(put(&mut groups(), "one", with(path, json!([{ "name": "A", "value": "" }])), 0.0).is_ok());
}

#[test]
fn volumes_are_of_one_kind_and_secret_ones_are_base64_and_not_for_windows() {
    let volume = |volume: Value| with("/properties/volumes", json!([volume]));
    assert_eq!(refused(volume(json!({ "name": "v", "secret": { "a": "no!" } }))), "InvalidSecretVolumeContent");
    assert_eq!(refused(volume(json!({ "name": "v" }))), "InvalidVolumeType");
    let both = json!({ "name": "v", "emptyDir": {}, "secret": {} });
    assert_eq!(refused(volume(both)), "InvalidVolumeType");
    let mut windows = volume(json!({ "name": "v", "secret": { "a": "" } }));
    windows["properties"]["osType"] = json!("Windows");
    assert_eq!(refused(windows), "VolumeTypeNotSupportedForOsType");
    let mount = with("/properties/containers/0/properties/volumeMounts", json!([{ "name": "v", "mountPath": "/v" }]));
    assert_eq!(refused(mount), "VolumeNotFound");
}

#[test]
fn resources_registries_and_spot_have_rules() {
    let requests = "/properties/containers/0/properties/resources";
    for resources in [
        json!({ "requests": { "cpu": 5, "memoryInGB": 1 } }),
        json!({ "requests": { "cpu": 1, "memoryInGB": 17 } }),
        json!({ "requests": { "cpu": 0, "memoryInGB": 1 } }),
        json!({ "requests": { "cpu": 2, "memoryInGB": 1 }, "limits": { "cpu": 1 } }),
    ] {
        assert_eq!(refused(with(requests, resources)), "InvalidResourceRequest");
    }
    let registry = json!([{ "server": "r.example", "username": "u" }]);
    assert_eq!(refused(with("/properties/imageRegistryCredentials", registry)), "InvalidImageRegistryCredentialType");
    let mut spot = with("/properties/priority", json!("Spot"));
    assert!(put(&mut groups(), "one", spot.clone(), 0.0).is_ok());
    spot["properties"]["ipAddress"] = json!({ "type": "Public", "ports": [{ "port": 80 }] });
    assert_eq!(refused(spot), "SpotPriorityNotSupported");
    let image = with("/properties/containers/0/properties/image", json!("inaccessible:1"));
    assert_eq!(refused(image), "InaccessibleImage");
}

#[test]
fn secrets_are_never_shown_again_so_a_round_trip_loses_them() {
    let mut body = body();
    let properties = &mut body["properties"];
    properties["containers"][0]["properties"]["environmentVariables"] =
        json!([{ "name": "A", "secureValue": "hidden" }, { "name": "B", "value": "shown" }]);
    properties["imageRegistryCredentials"] = json!([{ "server": "r", "username": "u", "password": "hidden" }]);
    properties["volumes"] = json!([
        { "name": "s", "secret": { "file": "aGlkZGVu" } },
        { "name": "f", "azureFile": { "shareName": "f", "storageAccountName": "a", "storageAccountKey": "hidden" } },
    ]);
    properties["diagnostics"] = json!({ "logAnalytics": { "workspaceId": "w", "workspaceKey": "hidden" } });
    let mut groups = groups();
    put(&mut groups, "one", body, 0.0).unwrap();
    let shown = groups.get("g", "one").unwrap();
    let listed = groups.list(None, None, 10).0.remove(0);
    for view in [&shown, &listed] {
        let text = view.to_string();
        assert!(!text.contains("hidden") && !text.contains("aGlkZGVu"), "{text}");
        assert!(text.contains("shown") && text.contains("\"file\""), "{text}");
    }
    assert!(listed["properties"]["instanceView"].is_null());
    groups.advance(at(2.0));
    let orders = format!("{:?}", groups.take_orders());
    assert!(orders.contains("\"A\"") && !orders.contains("hidden"), "{orders}");
    // What is read-only may come back; what was secret is missing.
    let again = put(&mut groups, "one", shown, 3.0).unwrap_err();
    assert_eq!(again.code, "InvalidEnvironmentVariableType");
}

#[test]
fn a_list_is_in_order_and_in_pages() {
    let mut groups = groups();
    for name in ["b", "c", "a"] {
        put(&mut groups, name, body(), 0.0).unwrap();
    }
    groups.put("other", "d", body(), Fate::Run, at(0.0)).unwrap();
    let names = |page: &[Value]| page.iter().map(|group| group["name"].as_str().unwrap()).collect::<String>();
    let (page, next) = groups.list(Some("G"), None, 2);
    assert_eq!(names(&page), "ab");
    let (page, next) = groups.list(Some("G"), next.as_deref(), 2);
    assert_eq!((names(&page), next), ("c".to_owned(), None));
    assert_eq!(names(&groups.list(None, None, 10).0), "abcd");
}
