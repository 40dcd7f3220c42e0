//! Counts the memory of requests, responses and lists of fields that the host keeps for a guest.
//!
//! `wasi:http/types` needs no grant, and a guest may hold as many of its objects as handles. Each is small: texts that
//! no server would accept are refused, and so are lists of fields beyond a size. Their sum is counted in the table of
//! handles ([`held_by`]), and calls that add to it announce the most that they may add. Bodies carry their own charge.

use std::any::Any;
use std::sync::Arc;

use ::http::{HeaderMap, HeaderValue};
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, LinkerInstance, Resource};
use wasmtime_wasi_http::p2::HeaderResult;
use wasmtime_wasi_http::p2::bindings::http::types::{
    HeaderError, Host, HostFields, HostOutgoingBody as _, HostOutgoingRequest as _, Method, Scheme,
};
use wasmtime_wasi_http::p2::body::HostOutgoingBody;
use wasmtime_wasi_http::p2::types::{HostIncomingResponse, HostOutgoingRequest, HostOutgoingResponse};
use wasmtime_wasi_http::{FieldMap, WasiHttpCtxView};

use crate::attempt::{ChargeError, Ledger};
use crate::imports::ImportsView;
use crate::imports::held_stream::hold_output;

/// The version that `wasmtime-wasi-http` links. With another one, functions would be added beside its own instead of
/// replacing them.
const INTERFACE: &str = "wasi:http/types@0.2.12";

/// The longest method and scheme, in bytes. The longest registered method has 17.
const LONGEST_WORD: usize = 64;

/// The longest authority, in bytes: a name of 255, a port, and the part before an `@`.
const LONGEST_AUTHORITY: usize = 1 << 10;

/// The longest path with its query, in bytes, because no longer one can be sent.
const LONGEST_PATH: usize = u16::MAX as usize;

/// The bytes that a field takes in the host besides its name and value: its place in a table that may be twice as large
/// as needed, and the allocator's overhead for both.
const FIELD: usize = 320;

/// The bytes that a body takes in the host before anything is written to it: the channel to the task that sends it.
const BODY: usize = 3 << 10;

/// Returns the bytes that the host holds in `entry` of a table of handles, if the entry belongs to this interface.
pub(super) fn held_by(entry: &(dyn Any + Send)) -> usize {
    let body = |there: bool| if there { BODY } else { 0 };
    if let Some(fields) = entry.downcast_ref::<FieldMap>() {
        size(fields)
    } else if let Some(request) = entry.downcast_ref::<HostOutgoingRequest>() {
        let texts =
            [request.authority.as_ref(), request.path_with_query.as_ref()].map(|text| text.map_or(0, String::len));
        size(&request.headers) + texts.iter().sum::<usize>() + 2 * LONGEST_WORD + body(request.body.is_some())
    } else if let Some(response) = entry.downcast_ref::<HostOutgoingResponse>() {
        size(&response.headers) + body(response.body.is_some())
    } else if let Some(response) = entry.downcast_ref::<HostIncomingResponse>() {
        // The values carry their own charge.
        overhead(&response.headers)
    } else {
        0
    }
}

/// Returns the bytes that `fields` take.
pub(super) fn size(fields: &HeaderMap) -> usize {
    overhead(fields) + fields.values().map(HeaderValue::len).sum::<usize>()
}

/// Returns the bytes that `fields` take besides their values.
fn overhead(fields: &HeaderMap) -> usize {
    // The capacity grows by doubling, and each value in it is an allocation.
    fields.capacity().max(fields.len()) * FIELD / 2
        + fields.keys().map(|name| FIELD / 2 + name.as_str().len()).sum::<usize>()
}

/// Copies the fields with values in memory of their own. That memory is charged while one of the values exists, and the
/// buffer in which they arrived is not kept.
///
/// # Errors
///
/// [`ChargeError`] if the run may not have that much more memory.
pub(super) fn charged(fields: &HeaderMap, ledger: &Arc<Ledger>) -> Result<HeaderMap, ChargeError> {
    let values: Vec<u8> = fields.values().flat_map(HeaderValue::as_bytes).copied().collect();
    let mut values = ledger.charged(values)?;
    let mut copied = HeaderMap::with_capacity(fields.keys_len());
    for (name, value) in fields {
        let value = HeaderValue::from_maybe_shared(values.split_to(value.len())).expect("it was a value before");
        copied.append(name.clone(), value);
    }
    Ok(copied)
}

/// Makes the interface count what the host keeps and refuse texts without use. Called after the interface is linked.
pub(super) fn count<T: ImportsView>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut types = linker.instance(INTERFACE)?;
    fields(&mut types)?;
    requests(&mut types)?;
    bodies(&mut types)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Returns the guest's context for the interface, after announcing to the ledger that a call adds up to `bytes`.
fn adding<'a, T: ImportsView>(guest: &'a mut StoreContextMut<'_, T>, bytes: usize) -> WasiHttpCtxView<'a> {
    let imports = guest.data_mut().imports();
    imports.ctx.ledger.expect_handles(bytes);
    imports.http()
}

/// Returns the guest's result of an operation on fields.
fn guest_result<T>(
    http: &mut WasiHttpCtxView<'_>,
    done: HeaderResult<T>,
) -> wasmtime::Result<(Result<T, HeaderError>,)> {
    Ok((match done {
        Ok(done) => Ok(done),
        Err(error) => Err(http.convert_header_error(error)?),
    },))
}

fn fields<T: ImportsView>(types: &mut LinkerInstance<'_, T>) -> wasmtime::Result<()> {
    types.func_wrap(
        "[static]fields.from-list",
        |mut guest: StoreContextMut<'_, T>, (list,): (Vec<(String, Vec<u8>)>,)| {
            let bytes = list.iter().map(|(name, value)| FIELD + name.len() + value.len()).sum();
            let mut http = adding(&mut guest, bytes);
            let made = http.from_list(list);
            guest_result(&mut http, made)
        },
    )?;
    types.func_wrap(
        "[method]fields.set",
        |mut guest: StoreContextMut<'_, T>, (fields, name, values): (Resource<FieldMap>, String, Vec<Vec<u8>>)| {
            let bytes = name.len() + values.iter().map(|value| FIELD + value.len()).sum::<usize>();
            let mut http = adding(&mut guest, bytes);
            let done = http.set(fields, name, values);
            guest_result(&mut http, done)
        },
    )?;
    types.func_wrap(
        "[method]fields.append",
        |mut guest: StoreContextMut<'_, T>, (fields, name, value): (Resource<FieldMap>, String, Vec<u8>)| {
            let mut http = adding(&mut guest, FIELD + name.len() + value.len());
            let done = http.append(fields, name, value);
            guest_result(&mut http, done)
        },
    )?;
    types.func_wrap("[method]fields.clone", |mut guest: StoreContextMut<'_, T>, (fields,): (Resource<FieldMap>,)| {
        let bytes = size(guest.data_mut().imports().table.get(&fields)?);
        Ok((HostFields::clone(&mut adding(&mut guest, bytes), fields)?,))
    })
}

fn requests<T: ImportsView>(types: &mut LinkerInstance<'_, T>) -> wasmtime::Result<()> {
    type Request = Resource<HostOutgoingRequest>;
    types.func_wrap(
        "[method]outgoing-request.set-method",
        |mut guest: StoreContextMut<'_, T>, (request, method): (Request, Method)| match &method {
            Method::Other(word) if word.len() > LONGEST_WORD => Ok((Err(()),)),
            _ => Ok((adding(&mut guest, LONGEST_WORD).set_method(request, method)?,)),
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-scheme",
        |mut guest: StoreContextMut<'_, T>, (request, scheme): (Request, Option<Scheme>)| match &scheme {
            Some(Scheme::Other(word)) if word.len() > LONGEST_WORD => Ok((Err(()),)),
            _ => Ok((adding(&mut guest, LONGEST_WORD).set_scheme(request, scheme)?,)),
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-authority",
        |mut guest: StoreContextMut<'_, T>, (request, authority): (Request, Option<String>)| match authority
            .as_ref()
            .map_or(0, String::len)
        {
            bytes if bytes > LONGEST_AUTHORITY => Ok((Err(()),)),
            bytes => Ok((adding(&mut guest, bytes).set_authority(request, authority)?,)),
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-path-with-query",
        |mut guest: StoreContextMut<'_, T>, (request, path): (Request, Option<String>)| match path
            .as_ref()
            .map_or(0, String::len)
        {
            bytes if bytes > LONGEST_PATH => Ok((Err(()),)),
            bytes => Ok((adding(&mut guest, bytes).set_path_with_query(request, path)?,)),
        },
    )
}

fn bodies<T: ImportsView>(types: &mut LinkerInstance<'_, T>) -> wasmtime::Result<()> {
    types.func_wrap(
        "[method]outgoing-body.write",
        |mut guest: StoreContextMut<'_, T>, (body,): (Resource<HostOutgoingBody>,)| {
            let ledger = Arc::clone(&guest.data_mut().imports().ctx.ledger);
            let mut http = adding(&mut guest, BODY);
            let stream = http.write(body)?;
            if let Ok(stream) = &stream {
                hold_output(http.table, stream, ledger)?;
            }
            Ok((stream,))
        },
    )?;
    types.func_wrap(
        "[static]outgoing-body.finish",
        |mut guest: StoreContextMut<'_, T>,
         (body, trailers): (Resource<HostOutgoingBody>, Option<Resource<FieldMap>>)| {
            let ledger = Arc::clone(&guest.data_mut().imports().ctx.ledger);
            let mut http = guest.data_mut().imports().http();
            if let Some(trailers) = &trailers {
                // The trailers leave the table and go where the body is.
                let fields = charged(http.table.get(trailers)?, &ledger)?;
                *http.table.get_mut(trailers)? = FieldMap::new_immutable(http.hooks, fields);
            }
            Ok((match http.finish(body, trailers) {
                Ok(()) => Ok(()),
                Err(error) => Err(http.convert_error_code(error)?),
            },))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::AllMemory;

    fn fields(count: usize, value: &[u8]) -> HeaderMap {
        let name = |n: usize| ::http::HeaderName::try_from(format!("x-{n}")).unwrap();
        (0..count).map(|n| (name(n), HeaderValue::from_bytes(value).unwrap())).collect()
    }

    #[test]
    fn fields_of_a_response_are_charged_while_any_of_their_values_exists() {
        let ledger = Ledger::new(1 << 20, &Arc::new(AllMemory::of(u64::MAX)));
        let mut came = fields(3, &[b'v'; 1000]);
        came.append("x-1", HeaderValue::from_static("again"));

        let mut copied = charged(&came, &ledger).unwrap();
        assert_eq!(copied, came);
        let value = copied.remove("x-2").unwrap();
        drop(copied);
        assert!(ledger.held() >= 3000);
        drop(value);

        assert_eq!(ledger.held(), 0);
    }

    #[test]
    fn fields_beyond_the_memory_of_a_run_are_not_kept() {
        let ledger = Ledger::new(1000, &Arc::new(AllMemory::of(u64::MAX)));
        assert!(charged(&fields(3, &[b'v'; 1000]), &ledger).is_err());
        assert_eq!(ledger.held(), 0);
    }

    #[test]
    fn many_small_fields_count_for_their_memory_rather_than_their_text() {
        assert!(size(&fields(200, b"")) > 200 * size_of::<(::http::HeaderName, HeaderValue)>());
        assert_eq!(size(&HeaderMap::new()), 0);
    }
}
