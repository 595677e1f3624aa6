//! Differences between tables: the steps of one transaction. Pure.

use std::fmt;

use super::observe::{Holding, ObservedTable};
use super::table::{Base, Chain, Data, Field, Place, Rule, Set, Table, USER_CHAIN, element_text};

/// One element of a set or map.
pub(crate) type Element = (Vec<Field>, Option<Data>);

/// Steps that the kernel carries out as one transaction. Prints as a script for nft(8).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    pub(crate) parts: Vec<Part>,
}

/// The steps of a batch that change one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) place: Place,
    pub(crate) steps: Vec<Step>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// With `held`, the table is ours alone for as long as our socket is open, and stays afterwards.
    AddTable {
        held: bool,
    },
    DeleteTable,
    AddSet {
        name: String,
        set: Set,
    },
    FlushSet {
        name: String,
    },
    DeleteSet {
        name: String,
    },
    AddChain {
        name: String,
        base: Option<Base>,
    },
    FlushChain {
        name: String,
    },
    DeleteChain {
        name: String,
    },
    AddRule {
        chain: String,
        rule: Rule,
    },
    AddElements {
        set: String,
        elements: Vec<Element>,
    },
    DeleteElements {
        set: String,
        elements: Vec<Element>,
    },
}

impl Batch {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Both batches as one.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.parts.extend(other.parts);
        self
    }
}

/// The steps from one table to another. Whatever is referred to is added before, and removed after, what refers to it.
pub(crate) fn change(old: &Table, new: &Table) -> Batch {
    let mut steps = Vec::new();
    let is_new = |name: &String| !old.sets.contains_key(name);
    let added = new.sets.iter().filter(|(name, _)| is_new(name));
    steps.extend(added.map(|(name, set)| Step::AddSet { name: name.clone(), set: set.clone() }));
    let added =
        new.chains.iter().filter(|chain| old.chain(&chain.name).is_none_or(|old| old.base != chain.base));
    steps.extend(added.map(|chain| Step::AddChain { name: chain.name.clone(), base: chain.base }));
    for (name, set) in &old.sets {
        let kept = |element: &Element| {
            new.sets.get(name).is_some_and(|set| set.elements.get(&element.0) == Some(&element.1))
        };
        let gone: Vec<Element> = elements(set).filter(|element| !kept(element)).collect();
        steps.extend((!gone.is_empty()).then(|| Step::DeleteElements { set: name.clone(), elements: gone }));
    }
    for chain in new.chains.iter().filter(|chain| chain.name != USER_CHAIN) {
        let before = old.chain(&chain.name);
        if before.is_some_and(|before| before.rules == chain.rules) {
            continue;
        }
        if before.is_some_and(|before| !before.rules.is_empty()) {
            steps.push(Step::FlushChain { name: chain.name.clone() });
        }
        steps.extend(add_rules(chain));
    }
    for (name, set) in &new.sets {
        let had = |element: &Element| {
            old.sets.get(name).is_some_and(|set| set.elements.get(&element.0) == Some(&element.1))
        };
        let fresh: Vec<Element> = elements(set).filter(|element| !had(element)).collect();
        steps.extend((!fresh.is_empty()).then(|| Step::AddElements { set: name.clone(), elements: fresh }));
    }
    let gone = || old.chains.iter().filter(|chain| new.chain(&chain.name).is_none());
    steps.extend(gone().map(|chain| Step::FlushChain { name: chain.name.clone() }));
    let gone_sets = old.sets.keys().filter(|name| !new.sets.contains_key(*name));
    steps.extend(gone_sets.map(|name| Step::DeleteSet { name: name.clone() }));
    steps.extend(gone().map(|chain| Step::DeleteChain { name: chain.name.clone() }));
    if steps.is_empty() {
        return Batch::default();
    }
    steps.insert(0, Step::AddTable { held: false });
    Batch { parts: vec![Part { place: new.place, steps }] }
}

/// The steps that make the table right whatever is there: nothing, our own of another version, or what somebody left
/// of it. Chains and sets that we do not know belong to the administrator, as the chain `user` does.
pub(crate) fn repair(found: &ObservedTable, new: &Table, hold: bool) -> Batch {
    if hold && found.holding == Some(Holding::Unheld) && found.is_ours_alone(new) {
        // A table cannot become one that is held. All of this is one transaction.
        let mut steps = vec![Step::DeleteTable];
        steps.extend(
            repair(&ObservedTable::default(), new, hold).parts.into_iter().flat_map(|part| part.steps),
        );
        return Batch { parts: vec![Part { place: new.place, steps }] };
    }
    let held = hold && found.holding != Some(Holding::Unheld);
    let mut steps = vec![Step::AddTable { held }];
    let ours = |name: &str| is_ours(new, name);
    let chains = || found.chains.iter().filter(|chain| ours(&chain.name));
    steps.extend(chains().map(|chain| Step::FlushChain { name: chain.name.clone() }));
    for (name, set) in &found.sets {
        match new.sets.get(name) {
            Some(wanted) if set.has_type_of(wanted) => steps.push(Step::FlushSet { name: name.clone() }),
            Some(_) => steps.push(Step::DeleteSet { name: name.clone() }),
            None => {}
        }
    }
    let same_hook = |name: &str, base: &Option<Base>| {
        new.chain(name).is_some_and(|chain| hook(&chain.base) == hook(base))
    };
    let wrong = chains().filter(|chain| !same_hook(&chain.name, &chain.base));
    steps.extend(wrong.map(|chain| Step::DeleteChain { name: chain.name.clone() }));
    let missing = new
        .sets
        .iter()
        .filter(|(name, set)| found.sets.get(*name).is_none_or(|set_found| !set_found.has_type_of(set)));
    steps.extend(missing.map(|(name, set)| Step::AddSet { name: name.clone(), set: set.clone() }));
    steps
        .extend(new.chains.iter().map(|chain| Step::AddChain { name: chain.name.clone(), base: chain.base }));
    steps.extend(new.chains.iter().flat_map(add_rules));
    let filled = new.sets.iter().filter(|(_, set)| !set.elements.is_empty());
    steps.extend(
        filled.map(|(name, set)| Step::AddElements { set: name.clone(), elements: elements(set).collect() }),
    );
    Batch { parts: vec![Part { place: new.place, steps }] }
}

/// Whether a chain is one that we write the rules of.
fn is_ours(new: &Table, name: &str) -> bool {
    name != USER_CHAIN && (new.chain(name).is_some() || is_network_chain(name))
}

impl ObservedTable {
    /// Whether nobody else has anything in a table.
    pub(crate) fn is_ours_alone(&self, new: &Table) -> bool {
        self.chains.iter().all(|chain| is_ours(new, &chain.name))
            && self.sets.keys().all(|name| new.sets.contains_key(name))
    }
}

/// Whether a chain is one that we make for a network.
fn is_network_chain(name: &str) -> bool {
    ["open-", "hairpin-", "outward-"].iter().any(|prefix| name.starts_with(prefix))
}

/// Where a chain hangs, without its policy, which can be changed in place.
fn hook(base: &Option<Base>) -> Option<Base> {
    base.map(|base| Base { drop: false, ..base })
}

fn add_rules(chain: &Chain) -> impl Iterator<Item = Step> + '_ {
    chain.rules.iter().map(|rule| Step::AddRule { chain: chain.name.clone(), rule: rule.clone() })
}

fn elements(set: &Set) -> impl Iterator<Item = Element> + '_ {
    set.elements.iter().map(|(key, data)| (key.clone(), data.clone()))
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| {
            part.steps.iter().try_for_each(|step| writeln!(f, "{}", step.of(part.place)))
        })
    }
}

/// A step with the table that it changes.
pub(crate) struct StepOf<'a>(&'a Step, Place);

impl Step {
    /// The step as it is printed for this table.
    pub(crate) fn of(&self, place: Place) -> StepOf<'_> {
        StepOf(self, place)
    }
}

impl fmt::Display for StepOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |elements: &[Element], with_data: bool| {
            let text = |(key, data): &Element| element_text((key, if with_data { data } else { &None }));
            elements.iter().map(text).collect::<Vec<_>>().join(", ")
        };
        let table = self.1;
        match self.0 {
            Step::AddTable { held: false } => write!(f, "add table {table}"),
            Step::AddTable { held: true } => write!(f, "add table {table} {{ flags owner, persist; }}"),
            Step::DeleteTable => write!(f, "delete table {table}"),
            Step::AddSet { name, set } => write!(f, "add {} {table} {name} {{ {set}; }}", set.word()),
            Step::FlushSet { name } => write!(f, "flush set {table} {name}"),
            Step::DeleteSet { name } => write!(f, "delete set {table} {name}"),
            Step::AddChain { name, base: Some(base) } => write!(f, "add chain {table} {name} {{ {base} }}"),
            Step::AddChain { name, base: None } => write!(f, "add chain {table} {name}"),
            Step::FlushChain { name } => write!(f, "flush chain {table} {name}"),
            Step::DeleteChain { name } => write!(f, "delete chain {table} {name}"),
            Step::AddRule { chain, rule } => write!(f, "add rule {table} {chain} {rule}"),
            Step::AddElements { set, elements } => {
                write!(f, "add element {table} {set} {{ {} }}", list(elements, true))
            }
            Step::DeleteElements { set, elements } => {
                write!(f, "delete element {table} {set} {{ {} }}", list(elements, false))
            }
        }
    }
}
