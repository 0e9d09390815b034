//! Tools that look at the queue: what `oppen queue` shows.

use super::jobs::queued;
use super::{Hands, refusal};
use crate::base::Timestamp;
use crate::cli::plan::now;
use crate::cli::queue::look;
use crate::cli::session::Place;
use crate::engine::Engine;
use crate::mcp::{Answer, Capacity, Code, Live, Nothing, Page, Queue, QueuePage, Refusal, Talk, plain};
use crate::queue::{Board, Limits, Meters, board};
use crate::record::State;
use crate::store::Store;

/// Running jobs of one answer.
const LIVE: usize = 50;
/// Entries of a page, unless the agent says otherwise.
const PAGE: u32 = 50;

/// The queue of a project; an empty one where nothing was ever asked for.
pub fn seen(place: &Place) -> Answer<(Board, Engine, Option<Store>)> {
    let Some(store) = Store::open_existing(&place.state_folder()).map_err(super::stored)? else {
        let state = State::default();
        return Ok((
            board(&state, &place.limits, &Meters::new(&place.limits, now()), &place.rates, now()),
            Engine::new(state, place.limits.clone()),
            None,
        ));
    };
    let (board, engine) = look(place, &store).map_err(refusal)?;
    Ok((board, engine, Some(store)))
}

/// `get_queue_status`
pub fn status(hands: &Hands, _: Nothing, _: &Talk<'_>) -> Answer<Queue> {
    let place = hands.place()?;
    let (board, _, store) = seen(&place)?;
    let holder = store.map(|s| s.holder()).transpose().map_err(super::stored)?.flatten().filter(|(h, _)| !h.is_dead());
    let time = |t: Option<Timestamp>| t.map(|t| t.to_string());
    Ok(Queue {
        pending_cost_usd: board.pending_cost.into(),
        pending: board.waiting.len(),
        unpriced: board.unpriced,
        running: board.running.len(),
        running_jobs: board.running.iter().take(LIVE).map(live).collect(),
        capacity: capacity(&place.limits, board.running.len()),
        next_free_slot: time(board.next_free.map(|t| t.max(now()))),
        all_done_at: time(board.end),
        paused_by: board.paused.map(|p| plain(&p.by, 200)),
        engine: holder.map(|(h, _)| plain(&h.to_string(), 200)),
    })
}

/// A run that holds its part of the pool.
pub fn live(run: &crate::queue::board::Live) -> Live {
    Live {
        job_id: run.address.to_string(),
        priority: run.class.to_string(),
        since: run.since.to_string(),
        ends_at: run.end.map(|t| t.to_string()),
        cost_usd: run.cost.map(Into::into),
    }
}

/// What runs may hold together.
pub fn capacity(limits: &Limits, running: usize) -> Capacity {
    #[expect(clippy::cast_precision_loss, reason = "for showing")]
    let gib = |bytes: u64| bytes as f64 / f64::from(1_u32 << 30);
    #[expect(clippy::cast_precision_loss, reason = "for showing")]
    let cores = |millis: u64| millis as f64 / 1000.0;
    Capacity {
        max_concurrent: limits.max_concurrent,
        free_slots: limits.max_concurrent.saturating_sub(u32::try_from(running).unwrap_or(u32::MAX)),
        gpus: limits.quotas.gpu,
        cores: limits.quotas.cpu_millis.map(cores),
        memory_gib: limits.quotas.memory_bytes.map(gib),
    }
}

/// `list_queued_jobs`
pub fn list(hands: &Hands, args: Page, _: &Talk<'_>) -> Answer<QueuePage> {
    let place = hands.place()?;
    let (board, engine, _) = seen(&place)?;
    let from = start(args.cursor.as_deref())?;
    let most = args.limit.unwrap_or(PAGE) as usize;
    let shown: Vec<_> = board.waiting.iter().skip(from).take(most).collect();
    let whys = engine.whys(shown.iter().map(|w| &w.address));
    let now = now();
    let jobs: Vec<_> = shown.iter().zip(whys).map(|(w, why)| queued(w, why.map(|w| plain(&w.to_string(), 300)), now)).collect();
    let next = from + jobs.len();
    Ok(QueuePage {
        pending_cost_usd: board.pending_cost.into(),
        total: board.waiting.len(),
        jobs,
        next_cursor: (next < board.waiting.len()).then(|| next.to_string()),
    })
}

/// A cursor is where the page begins.
pub fn start(cursor: Option<&str>) -> Answer<usize> {
    let wrong = |c: &str| {
        Refusal::new(
            Code::InvalidArguments,
            format!("`{}` is no cursor of ours", plain(c, 64)),
            "give next_cursor of the answer before, or none",
        )
    };
    cursor.map_or(Ok(0), |c| c.parse().map_err(|_| wrong(c)))
}
