//! Memory and swap.

use super::{Plan, invalid, unsupported};
use crate::limits::MemoryLimits;
use crate::{Amount, Controller, Result};

const MEMORY: Controller = Controller::Memory;

impl Plan<'_> {
    pub(super) fn memory(&mut self, memory: &MemoryLimits) -> Result<()> {
        if *memory
            == (MemoryLimits { check_before_update: memory.check_before_update, ..MemoryLimits::default() })
        {
            return Ok(());
        }
        self.need(MEMORY, "memory limits")?;
        if let (true, Some(Amount::Of(limit))) = (memory.check_before_update, memory.limit) {
            let usage = self.facts.memory.usage;
            if limit < usage {
                return Err(invalid(
                    format!("memory limit {limit}"),
                    format!("is below the {usage} bytes in use"),
                ));
            }
        }
        match self.v1() {
            true => self.memory_v1(memory),
            false => self.memory_v2(memory),
        }
    }

    fn memory_v1(&mut self, memory: &MemoryLimits) -> Result<()> {
        const LIMIT: &str = "memory.limit_in_bytes";
        const SWAP: &str = "memory.memsw.limit_in_bytes";
        let facts = &self.facts.memory;
        let lifted = memory.limit == Some(Amount::Unlimited);
        // Lifting the limit of memory alone lifts that of memory and swap, as it could not stay below.
        let implied = (lifted && facts.counts_swap).then_some(Amount::Unlimited);
        let swap = memory.swap.or(implied);
        if let (Some(_), false) = (swap, facts.counts_swap) {
            return Err(unsupported("memory swap limit", "this kernel does not count swap (swapaccount=1)"));
        }
        let current = |limit: Option<u64>| limit.map_or(Amount::Unlimited, Amount::Of);
        let (new_limit, new_swap) =
            (memory.limit.unwrap_or(current(facts.limit)), swap.unwrap_or(current(facts.swap_limit)));
        if facts.counts_swap && below(new_swap, new_limit) {
            return Err(swap_below_memory(memory));
        }
        // The kernel keeps memory at or below memory and swap at every moment: whichever grows past the other's present
        // value has to wait for it.
        let swap_first = !below(new_swap, current(facts.limit));
        let limit = memory.limit.map(|limit| (LIMIT, self.amount(limit)));
        let swap = swap.map(|swap| (SWAP, self.amount(swap)));
        let ordered = if swap_first { [swap, limit] } else { [limit, swap] };
        for (file, value) in ordered.into_iter().flatten() {
            self.write(MEMORY, file, value);
        }
        if let Some(reservation) = memory.reservation {
            self.write(MEMORY, "memory.soft_limit_in_bytes", self.amount(reservation));
        }
        if memory.disable_oom_killer {
            self.write(MEMORY, "memory.oom_control", 1);
        }
        match memory.swappiness {
            Some(swappiness @ 0..=100) => self.write(MEMORY, "memory.swappiness", swappiness),
            Some(other) => {
                return Err(invalid(format!("memory swappiness {other}"), "must be between 0 and 100"));
            }
            None => {}
        }
        Ok(())
    }

    fn memory_v2(&mut self, memory: &MemoryLimits) -> Result<()> {
        let facts = &self.facts.memory;
        let limit = memory.limit.unwrap_or(facts.limit.map_or(Amount::Unlimited, Amount::Of));
        // The specification counts memory and swap together, v2 counts swap alone.
        let swap = match (memory.swap, limit) {
            (None, _) if memory.limit == Some(Amount::Unlimited) => Some(Amount::Unlimited),
            (None, _) => None,
            (Some(Amount::Of(both)), Amount::Of(memory_alone)) => match both.checked_sub(memory_alone) {
                Some(swap) => Some(Amount::Of(swap)),
                None => return Err(swap_below_memory(memory)),
            },
            (Some(swap), _) => Some(swap),
        };
        match (swap, facts.counts_swap) {
            (Some(swap), true) => self.write(MEMORY, "memory.swap.max", self.amount(swap)),
            // Without counting there is nothing to lift or forbid; but a limit cannot be kept.
            (Some(Amount::Of(1..)), false) => {
                return Err(unsupported(
                    "memory swap limit",
                    "this kernel does not count swap (swapaccount=1)",
                ));
            }
            _ => {}
        }
        if let Some(limit) = memory.limit {
            self.write(MEMORY, "memory.max", self.amount(limit));
        }
        if let Some(reservation) = memory.reservation {
            self.write(MEMORY, "memory.low", self.amount(reservation));
        }
        Ok(())
    }
}

fn below(one: Amount, other: Amount) -> bool {
    match (one, other) {
        (Amount::Unlimited, _) => false,
        (Amount::Of(_), Amount::Unlimited) => true,
        (Amount::Of(one), Amount::Of(other)) => one < other,
    }
}

fn swap_below_memory(memory: &MemoryLimits) -> crate::Error {
    let reason = match memory.swap {
        Some(_) => "memory+swap limit should be >= memory limit",
        None => "is above the memory+swap limit in force: update both at the same time",
    };
    let text = |amount: Option<Amount>| match amount {
        Some(Amount::Of(bytes)) => bytes.to_string(),
        Some(Amount::Unlimited) => "-1".to_owned(),
        None => "unchanged".to_owned(),
    };
    invalid(format!("memory limit {}, memory+swap limit {}", text(memory.limit), text(memory.swap)), reason)
}
