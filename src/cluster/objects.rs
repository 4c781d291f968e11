//! Objects as plain JSON: what an install is made of is applied, compared and deleted without typed structs, which would
//! drop fields that they do not know.

use std::{fmt, str::FromStr};

use kube::{
    Api,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, Preconditions, PropagationPolicy},
};
use serde_json::{Value, json};

use super::{Cluster, ClusterError, ErrorKind, kinds::resolve_kind};

/// Our name in `managedFields`.
pub const FIELD_MANAGER: &str = "kubectl-ado";

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// `apps/v1`
    pub api_version: String,
    /// `Deployment`
    pub kind: String,
    /// Empty for what is cluster-scoped.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ObjectRef {
    /// Of an object that names itself.
    #[must_use]
    pub fn of(object: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let metadata = &object["metadata"];
        Self {
            api_version: text(&object["apiVersion"]),
            kind: text(&object["kind"]),
            namespace: text(&metadata["namespace"]),
            name: text(&metadata["name"]),
        }
    }

    /// With its namespace, for sentences: `Deployment "ado/kubectl-ado"`.
    #[must_use]
    pub fn long(&self) -> String {
        match self.namespace.as_str() {
            "" => format!("{} \"{}\"", self.kind, self.name),
            namespace => format!("{} \"{}\" in namespace \"{namespace}\"", self.kind, self.name),
        }
    }

    /// For a list that is stored: `apps/v1/Deployment/NAMESPACE/NAME`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}/{}/{}/{}", self.api_version, self.kind, self.namespace, self.name)
    }
}

/// As kubectl names things: `deployment.apps/kubectl-ado`.
impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind.to_lowercase())?;
        if let Some((group, _)) = self.api_version.split_once('/') {
            write!(f, ".{group}")?;
        }
        write!(f, "/{}", self.name)
    }
}

impl FromStr for ObjectRef {
    type Err = ();

    /// Reads [`ObjectRef::path`].
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.rsplitn(4, '/').map(str::to_owned);
        let (name, namespace, kind) = (parts.next(), parts.next(), parts.next());
        let (Some(name), Some(namespace), Some(kind), Some(api_version)) = (name, namespace, kind, parts.next()) else {
            return Err(());
        };
        Ok(Self { api_version, kind, namespace, name })
    }
}

/// How an object is applied.
#[derive(Clone, Copy, Debug, Default)]
pub struct Apply {
    /// The API server checks and answers, and keeps nothing.
    pub dry_run: bool,
    /// Fields that others own become ours.
    pub force: bool,
}

impl Cluster {
    pub(super) async fn api(&self, object: &ObjectRef) -> Result<Api<DynamicObject>, ClusterError> {
        let resolved = resolve_kind(&self.client, &object.api_version, &object.kind).await;
        let (resource, namespaced) = resolved.map_err(|why| ClusterError {
            kind: ErrorKind::Invalid,
            message: format!("{}: {why}", object.long()),
            fix: None,
        })?;
        Ok(match namespaced {
            true => Api::namespaced_with(self.client.clone(), &object.namespace, &resource),
            false => Api::all_with(self.client.clone(), &resource),
        })
    }

    /// The object as it is; `None` if it is not there. Of a Secret, everything but its content.
    ///
    /// # Errors
    ///
    /// It may not be read, or the cluster does not answer.
    pub async fn get(&self, object: &ObjectRef) -> Result<Option<Value>, ClusterError> {
        let api = self.api(object).await?;
        let what = format!("get the {}", object.long());
        let got = if object.kind == "Secret" {
            self.call(&what, api.get_metadata_opt(&object.name)).await?.map(|found| to_json(&found))
        } else {
            self.call(&what, api.get_opt(&object.name)).await?.map(|found| to_json(&found))
        };
        Ok(got)
    }

    /// The objects of a kind in a namespace that carry these labels. Of Secrets, everything but their content.
    ///
    /// # Errors
    ///
    /// As [`Cluster::get`].
    pub async fn list(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        labels: &str,
    ) -> Result<Vec<Value>, ClusterError> {
        let (api_version, kind) = (api_version.to_owned(), kind.to_owned());
        let any = ObjectRef { api_version, kind, namespace: namespace.to_owned(), name: String::new() };
        let api = self.api(&any).await?;
        let parameters = ListParams::default().labels(labels);
        let what = format!("list the objects of kind {} in namespace \"{namespace}\"", any.kind);
        let mut found: Vec<Value> = if any.kind == "Secret" {
            self.call(&what, api.list_metadata(&parameters)).await?.items.iter().map(to_json).collect()
        } else {
            self.call(&what, api.list(&parameters)).await?.items.iter().map(to_json).collect()
        };
        // Items of a list do not say what they are.
        for object in &mut found {
            object["apiVersion"] = any.api_version.clone().into();
            object["kind"] = any.kind.clone().into();
        }
        Ok(found)
    }

    /// Applies an object on the server's side; the answer is what it is then.
    ///
    /// # Errors
    ///
    /// It is refused, or [`ErrorKind::Conflict`] where somebody else owns a field that would change.
    pub async fn apply(&self, object: &Value, how: Apply) -> Result<Value, ClusterError> {
        let reference = ObjectRef::of(object);
        let api = self.api(&reference).await?;
        let Apply { dry_run, force } = how;
        let parameters =
            PatchParams { dry_run, force, field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let what = format!("apply the {}", reference.long());
        let applied = self.call(&what, api.patch(&reference.name, &parameters, &Patch::Apply(object))).await?;
        Ok(to_json(&applied))
    }

    /// The object as it is, for those who may write but not read it: what the server would make of an apply that says
    /// nothing and keeps nothing. `None` if it is not there.
    ///
    /// # Errors
    ///
    /// It may not be patched, or the cluster does not answer.
    pub async fn look_by_apply(&self, reference: &ObjectRef) -> Result<Option<Value>, ClusterError> {
        let api = self.api(reference).await?;
        let ObjectRef { api_version, kind, namespace, name } = reference;
        let nothing =
            json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": namespace}});
        let parameters = PatchParams {
            dry_run: true,
            field_manager: Some(format!("{FIELD_MANAGER}-look")),
            ..PatchParams::default()
        };
        let what = format!("look at the {}", reference.long());
        let found = self.call(&what, api.patch(name, &parameters, &Patch::Apply(&nothing))).await?;
        // One that the dry run would make has no version.
        let mut found = to_json(&found);
        if let Some(object) = found.as_object_mut() {
            object.shift_remove("data");
        }
        Ok(Some(found).filter(|found| found["metadata"]["resourceVersion"].is_string()))
    }

    /// Deletes an object, if it is still the one with this uid. What hangs on it is deleted too. `false` if there is no
    /// such object any more.
    ///
    /// # Errors
    ///
    /// It may not be deleted, or the cluster does not answer.
    pub async fn delete(&self, object: &ObjectRef, uid: &str, dry_run: bool) -> Result<bool, ClusterError> {
        let api = self.api(object).await?;
        let parameters = DeleteParams {
            dry_run,
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
            ..DeleteParams::default()
        };
        match self.call(&format!("delete the {}", object.long()), api.delete(&object.name, &parameters)).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind == ErrorKind::NotFound || is_another(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The deletion was refused because an object of the same name has another uid. Any other conflict is one with somebody who
/// writes at the same time, and the object is still there.
fn is_another(error: &ClusterError) -> bool {
    error.kind == ErrorKind::Conflict && error.message.contains("UID in precondition")
}

fn to_json(object: &impl serde::Serialize) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

/// Who owns the fields that a conflict is about.
#[must_use]
pub fn conflicting_managers(message: &str) -> Vec<String> {
    let mut managers: Vec<String> = Vec::new();
    for part in message.split(" with \"").skip(1) {
        if let Some((manager, _)) = part.split_once('"')
            && !managers.iter().any(|known| known == manager)
        {
            managers.push(manager.to_owned());
        }
    }
    managers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_named_as_kubectl_does_and_reads_back_from_a_list() {
        let object =
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "namespace": "b"}});
        let reference = ObjectRef::of(&object);
        assert_eq!(reference.to_string(), "deployment.apps/a");
        assert_eq!(reference.path().parse(), Ok(reference));
        let namespace = ObjectRef::of(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}));
        assert_eq!(namespace.to_string(), "namespace/a");
        assert_eq!(namespace.path().parse(), Ok(namespace));
        assert!("a/b".parse::<ObjectRef>().is_err());
    }

    #[test]
    fn a_conflict_names_the_managers() {
        let message = "Apply failed with 2 conflicts: conflicts with \"kubectl-edit\" using apps/v1:\n- .spec.replicas\n\
                       conflicts with \"hpa\" using apps/v1:\n- .spec.x";
        assert_eq!(conflicting_managers(message), ["kubectl-edit", "hpa"]);
        assert!(conflicting_managers("the object has been modified").is_empty());
    }
}
