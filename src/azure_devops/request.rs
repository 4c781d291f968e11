//! One call: an endpoint, its address below the organization, a query, and what is sent.

use reqwest::{Method, Url};
use serde_json::Value;

use super::{PoolId, versions::Endpoint};

/// A question, which can be asked page by page, or a change.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) endpoint: Endpoint,
    pub(super) method: Method,
    pub(super) body: Option<Value>,
    area: &'static str,
    path: String,
    query: Vec<(&'static str, String)>,
}

impl Request {
    pub(super) fn pools(name: &str) -> Self {
        Self::new(Endpoint::Pools, "pools".to_owned()).with("poolName", name)
    }

    /// Who is asking.
    pub(super) fn connection_data() -> Self {
        Self { area: "", ..Self::new(Endpoint::ConnectionData, "connectionData".to_owned()) }
    }

    /// Whether the caller has these permissions (a sum of bits) in a pool.
    pub(super) fn permissions(pool: PoolId, bits: u32) -> Self {
        Self::new(Endpoint::Pools, format!("pools/{}/permissions/{bits}", pool.0))
    }

    pub(super) fn job_requests(pool: PoolId) -> Self {
        Self::new(Endpoint::JobRequests, format!("pools/{}/jobrequests", pool.0))
    }

    pub(super) fn agents(pool: PoolId) -> Self {
        Self::new(Endpoint::Agents, format!("pools/{}/agents", pool.0))
            .with("includeCapabilities", "true")
            .with("includeAssignedRequest", "true")
    }

    pub(super) fn agents_named(pool: PoolId, name: &str) -> Self {
        Self::agents(pool).with("agentName", name)
    }

    /// The newest agent package for a platform, such as `linux-x64`.
    pub(super) fn package(platform: &str) -> Self {
        Self::new(Endpoint::Packages, "packages/agent".to_owned()).with("platform", platform).with("top", "1")
    }

    pub(super) fn open_session(pool: PoolId, body: Value) -> Self {
        Self::new(Endpoint::Agents, format!("pools/{}/sessions", pool.0)).sending(Method::POST, Some(body))
    }

    pub(super) fn close_session(pool: PoolId, session: &str) -> Self {
        Self::new(Endpoint::Agents, format!("pools/{}/sessions/{session}", pool.0)).sending(Method::DELETE, None)
    }

    pub(super) fn resource_usage(tag: &str) -> Self {
        Self::new(Endpoint::ResourceUsage, "resourceusage".to_owned())
            .with("parallelismTag", tag)
            .with("poolIsHosted", "false")
            .with("includeRunningRequests", "true")
    }

    /// A question, without a query.
    pub(super) fn new(endpoint: Endpoint, path: String) -> Self {
        Self { endpoint, method: Method::GET, body: None, area: "distributedtask/", path, query: Vec::new() }
    }

    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.query.push((name, value.to_owned()));
        self
    }

    /// A change instead of a question.
    pub(super) fn sending(self, method: Method, body: Option<Value>) -> Self {
        Self { method, body, ..self }
    }

    /// The address below the organization's, for one page of the answer.
    pub(super) fn url(&self, base: &Url, continuation: Option<&str>) -> Url {
        let mut url = base.clone();
        url.set_path(&format!("{}/_apis/{}{}", base.path().trim_end_matches('/'), self.area, self.path));
        {
            let mut pairs = url.query_pairs_mut();
            pairs.extend_pairs(&self.query);
            pairs.extend_pairs(continuation.map(|token| ("continuationToken", token)));
        }
        // A space as %20 is read everywhere, a `+` only where the query is taken for a form. A real + is %2B by now.
        let query = url.query().filter(|query| !query.is_empty()).map(|query| query.replace('+', "%20"));
        url.set_query(query.as_deref());
        url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(base: &str, request: &Request, continuation: Option<&str>) -> String {
        request.url(&base.parse().unwrap(), continuation).to_string()
    }

    #[test]
    fn a_pool_name_may_hold_anything() {
        assert_eq!(
            url("https://dev.azure.com/contoso", &Request::pools("Größe & C++/x?"), None),
            "https://dev.azure.com/contoso/_apis/distributedtask/pools?poolName=Gr%C3%B6%C3%9Fe%20%26%20C%2B%2B%2Fx%3F"
        );
    }

    #[test]
    fn the_collection_stays_as_it_was_given() {
        assert_eq!(
            url("http://tfs:8080/tfs/My%20Collection/", &Request::job_requests(PoolId(7)), None),
            "http://tfs:8080/tfs/My%20Collection/_apis/distributedtask/pools/7/jobrequests"
        );
    }

    #[test]
    fn a_continuation_is_one_more_pair() {
        let request = Request::job_requests(PoolId(7)).with("completedRequestCount", "0");
        assert!(url("http://a/b", &request, Some("x=1")).ends_with("?completedRequestCount=0&continuationToken=x%3D1"));
    }
}
