//! What a `job_id` means: a run, all runs of a job, of a workflow, of a submission.

use crate::base::{Address, suggest};
use crate::mcp::{Answer, Code, Refusal, plain};
use crate::record::{RunRecord, State};
use crate::store::{Store, StoreError};

use super::stored;
use crate::cli::desk::approval;
use crate::cli::session::Place;

/// The runs that a `job_id` means, in the order of their planning; those included that the engine has not taken up yet.
pub fn runs(place: &Place, id: &str) -> Answer<(Store, Vec<RunRecord>)> {
    let unknown = |hint: Option<String>| {
        let next = "list_training_runs shows what there is; trigger_training_job and queue_training_job give job_id";
        let next = hint.map_or_else(|| next.to_owned(), |h| format!("{h} {next}"));
        Refusal::new(Code::NotFound, format!("there is no job or run `{}`", plain(id, 200)), next)
    };
    if let Some(waits) = approval::find(&place.loaded.root, id) {
        let words = format!("`{}` is not submitted: a person must agree to it first ({})", waits.id, waits.because);
        return Err(Refusal::new(Code::ApprovalRequired, words, format!("ask a person to run `oppen approve {}`", waits.id)));
    }
    let Some(store) = Store::open_existing(&place.state_folder()).map_err(stored)? else { return Err(unknown(None)) };
    // Between its request and its first event a run is in neither place: the second look finds it.
    for _ in 0..2 {
        let found = find(&store, id).map_err(stored)?;
        if !found.is_empty() {
            return Ok((store, found));
        }
    }
    let open = store.load_open().map_err(stored)?;
    Err(unknown(suggest::nearest(id, open.runs.keys().map(Address::as_str)).map(|near| format!("Did you mean `{}`?", plain(near, 200)))))
}

fn find(store: &Store, id: &str) -> Result<Vec<RunRecord>, StoreError> {
    let mut asked = State::default();
    store.foresee(&mut asked)?;
    let one = id.contains('/');
    let wanted = |a: &Address| match one {
        true => a.as_str() == id || a.job() == id,
        false => a.workflow() == id || of_submission(a.workflow(), id),
    };
    let mut state = if one { store.load_job(id)? } else { store.load_workflow(id)? };
    if state.runs.is_empty() && is_id(id) {
        for workflow in store.submitted(id)? {
            state.runs.extend(store.load_workflow(&workflow)?.runs);
        }
    }
    let new: Vec<_> = asked.runs.into_iter().filter(|(a, _)| wanted(a)).collect();
    for (address, record) in new {
        state.runs.entry(address).or_insert(record);
    }
    let mut found: Vec<RunRecord> = state.runs.into_values().collect();
    found.sort_by_key(|r| r.seq);
    Ok(found)
}

/// Ids of submissions are eight hexadecimal digits.
fn is_id(id: &str) -> bool {
    id.len() == 8 && id.bytes().all(|b| b.is_ascii_hexdigit())
}

fn of_submission(workflow: &str, id: &str) -> bool {
    let numbered = |w: &str| w.rsplit_once('-').filter(|(_, n)| n.bytes().all(|b| b.is_ascii_digit())).map(|(w, _)| w.to_owned());
    is_id(id) && (workflow.ends_with(&format!("-{id}")) || numbered(workflow).is_some_and(|w| w.ends_with(&format!("-{id}"))))
}

/// The only run that a `job_id` means.
pub fn one(place: &Place, id: &str) -> Answer<(Store, RunRecord)> {
    let (store, mut found) = runs(place, id)?;
    if found.len() == 1
        && let Some(one) = found.pop()
    {
        return Ok((store, one));
    }
    let some: Vec<String> = found.iter().take(8).map(|r| plain(r.spec.address.as_str(), 200)).collect();
    let words = format!("`{}` means {} runs, and this is about one", plain(id, 200), found.len());
    Err(Refusal::new(Code::InvalidArguments, words, format!("give the address of one as job_id: {}", some.join(", "))))
}
