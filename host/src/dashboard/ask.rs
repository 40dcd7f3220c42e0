//! Reads the request for a page: the query that the API gets, and the words that are only about the page. Answers it
//! with the page, or with one that says why there is none.

use std::sync::Arc;

use askama::Template;
use axum::extract::FromRequestParts;
use axum::http::header::{CONTENT_SECURITY_POLICY, COOKIE, REFERRER_POLICY};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};

use crate::http::ApiState;
use crate::http::views::{Fields, Refused, Seen, Views, query_fields};
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;

use super::address::encoded;
use super::look::shown;
use super::shell::Shell;
use super::times::Times;

/// The word of a query that names the tenant.
const TENANT: &str = "tenant";

/// The word of a query that says in which zone instants are shown.
const TIMES: &str = "times";

/// The word of a query that says which action has led to the page.
pub(super) const DONE: &str = "done";

/// The cookie that keeps the choice of light or dark colours.
pub(super) const THEME: &str = "sexton-theme";

/// The policy for pages: only the host's own style and module, and forms that go to the host.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      frame-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// A request for a page.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    /// The answers of the API.
    pub(super) views: Views,
    /// The path of the page.
    pub(super) path: String,
    /// The query, without empty fields and without the words that are only about the page.
    pub(super) fields: Fields,
    /// The zone in which instants are shown.
    pub(super) times: Times,
    /// The current instant.
    pub(super) now: Timestamp,
    /// The colours: `light`, `dark` or `auto`.
    pub(super) theme: &'static str,
    /// The action that has led to the page.
    pub(super) done: Option<String>,
}

impl FromRequestParts<Arc<ApiState>> for Ask {
    type Rejection = Response;
    async fn from_request_parts(parts: &mut Parts, app: &Arc<ApiState>) -> Result<Self, Response> {
        let views = Views::of(parts, app).await;
        let read = query_fields(parts).await;
        let mut ask = Self {
            views,
            path: parts.uri.path().to_owned(),
            fields: Fields::new(),
            times: Times::default(),
            now: app.clock.now(),
            theme: theme(parts),
            done: None,
        };
        match read {
            Ok(fields) => ask.take(fields),
            Err(refused) => return Err(ask.refuse(refused)),
        }
        Ok(ask)
    }
}

/// Returns the colours that the cookie names.
fn theme(parts: &Parts) -> &'static str {
    let cookies = parts.headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let named = cookies.flat_map(|line| line.split(';')).find_map(|cookie| {
        let (name, value) = cookie.trim().split_once('=')?;
        (name == THEME).then_some(value)
    });
    match named {
        Some("light") => "light",
        Some("dark") => "dark",
        _ => "auto",
    }
}

impl Ask {
    fn take(&mut self, fields: Fields) {
        for (name, value) in fields {
            match name.as_str() {
                _ if value.trim().is_empty() => {}
                TIMES => self.times = Times::read(&value),
                DONE => self.done = Some(value),
                _ => self.fields.push((name, value)),
            }
        }
    }

    /// Returns the value of a field of the query.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(named, _)| named == name).map(|(_, value)| value.as_str())
    }

    /// Returns the value of a field of the query for a form; empty if there is none.
    pub(super) fn value(&self, name: &str) -> String {
        self.field(name).unwrap_or_default().to_owned()
    }

    /// Returns the query for the API, with further fields.
    pub(super) fn query(&self, more: &[(&str, &str)]) -> String {
        let own = self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        encoded(own.chain(more.iter().copied()))
    }

    /// Returns the address of another page, about the same tenant and in the same zone.
    pub(super) fn href(&self, path: &str) -> String {
        self.to(path, &[])
    }

    /// Returns the address of a page with these fields.
    pub(super) fn to(&self, path: &str, fields: &[(&str, &str)]) -> String {
        address(path, fields.to_vec(), &self.views.tenant, self.times)
    }

    /// Returns the address of this page with another value of a field, from the first row on. Without a value the field
    /// is left out.
    pub(super) fn with(&self, name: &str, value: &str) -> String {
        let mut fields = self.fields_but(&[name, "cursor"]);
        if !value.is_empty() {
            fields.push((name, value));
        }
        address(&self.path, fields, &self.views.tenant, self.times)
    }

    /// Returns the address of the next page of this list, if there is one.
    pub(super) fn next(&self, cursor: Option<&str>) -> Option<String> {
        let cursor = cursor?;
        let mut fields = self.fields_but(&["cursor"]);
        fields.push(("cursor", cursor));
        Some(address(&self.path, fields, &self.views.tenant, self.times))
    }

    /// Returns the address of the first page of this list, if this is another.
    pub(super) fn first(&self) -> Option<String> {
        self.field("cursor").map(|_| self.with("cursor", ""))
    }

    /// Returns the address of the front page about another tenant.
    pub(super) fn about(&self, tenant: &Name) -> String {
        address("/", Vec::new(), tenant, self.times)
    }

    /// Returns the address of this page with instants in another zone.
    pub(super) fn in_zone(&self, times: Times) -> String {
        address(&self.path, self.fields_but(&[]), &self.views.tenant, times)
    }

    /// Returns the address of something in the API.
    pub(super) fn api(&self, path: &str) -> String {
        address(path, Vec::new(), &self.views.tenant, Times::default())
    }

    /// Returns the address of a list of the API with the filter of this page.
    pub(super) fn same(&self, path: &str) -> String {
        address(path, self.fields_but(&[]), &self.views.tenant, Times::default())
    }

    fn fields_but(&self, names: &[&str]) -> Vec<(&str, &str)> {
        let others = self.fields.iter().filter(|(name, _)| !names.contains(&name.as_str()));
        others.map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    /// Returns the words that all pages pass on: the tenant, and the zone of instants.
    pub(super) fn kept(&self) -> Vec<(&'static str, String)> {
        let tenant = Some(&self.views.tenant).filter(|tenant| **tenant != Name::default_tenant());
        let tenant = tenant.map(|tenant| (TENANT, tenant.to_string()));
        tenant.into_iter().chain(self.times.word().map(|word| (TIMES, word))).collect()
    }

    /// Returns the frame of a page with this title.
    pub(super) fn shell(&self, title: impl Into<String>) -> Shell {
        Shell::of(self, title.into())
    }

    /// Returns the response with a page, or with the reason why there is none.
    pub(super) fn answer(&self, page: Seen<impl Template>) -> Response {
        match page {
            Ok(page) => html(StatusCode::OK, &page),
            Err(refused) => self.refuse(refused),
        }
    }

    /// Returns the page that says why a request was refused.
    pub(super) fn refuse(&self, refused: Refused) -> Response {
        let Refused { status, message, hint } = refused;
        let title = match status {
            StatusCode::NOT_FOUND => "There is no such thing",
            status if status.is_server_error() => "The host could not do this",
            _ => "This was refused",
        };
        let [message, hint] = [message, hint.unwrap_or_default()].map(|text| shown(&text));
        html(status, &RefusedPage { shell: self.shell(title), back: self.href("/"), message, hint })
    }
}

/// Returns the address of a page. The default tenant, and the zones of tasks, need no words.
fn address(path: &str, fields: Vec<(&str, &str)>, tenant: &Name, times: Times) -> String {
    let times = times.word();
    let mut fields: Vec<(&str, &str)> = fields;
    if *tenant != Name::default_tenant() {
        fields.push((TENANT, tenant.as_str()));
    }
    if let Some(times) = &times {
        fields.push((TIMES, times));
    }
    match fields.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{}", encoded(fields.into_iter())),
    }
}

/// The page of a request that was refused.
#[derive(Template)]
#[template(path = "refused.html")]
struct RefusedPage {
    shell: Shell,
    message: String,
    hint: String,
    back: String,
}

fn html(status: StatusCode, page: &impl Template) -> Response {
    let Ok(text) = page.render() else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let mut response = (status, Html(text)).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}
