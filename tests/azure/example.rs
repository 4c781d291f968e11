//! The example of a template in the documentation is one.

use std::path::Path;

use kubectl_ado::config::GroupTemplate;

use crate::world::project_file;

#[test]
fn the_documented_template_is_a_container_group_and_keeps_what_it_says() {
    let page = project_file("docs/container-instances.md");
    let blocks: Vec<_> = page.split("```yaml\n").skip(1).map(|block| block.split("```").next().unwrap()).collect();
    let template = blocks.iter().find(|block| block.contains("priority: Spot")).unwrap();
    let template = GroupTemplate::parse(Path::new("group.yaml"), template).unwrap();
    assert_eq!(template.os(), None, "JOB_OS says it");
    assert!(!template.has_own_command());
    for pointer in
        ["/zones", "/properties/priority", "/properties/diagnostics/logAnalytics", "/properties/volumes/0/azureFile"]
    {
        assert!(template.body.pointer(pointer).is_some(), "{pointer}");
    }
}
