//! Publishing: all or nothing, on top of what was read, and once.

use handfast::{Config, Error, Handfast};
use handfast_kit::{End, Recipe, World, costs::Costs, relay::Relay, troubles::behind, try_out};

use crate::{
    server::shared,
    util::{client, connect, name, soon},
};

#[tokio::test]
async fn a_publication_on_top_of_an_old_revision_is_refused_and_says_what_changed() {
    let (anna, bert, key) = (connect(shared()), connect(shared()), name("publish"));
    let first = soon(anna.publish(&key).value("1").if_unchanged_since(0).send());
    let first = first.await.unwrap().revision;
    let config: Config<u32> = soon(bert.config(&key).open()).await.unwrap();
    let second = soon(
        anna.publish(&key)
            .value("2")
            .if_unchanged_since(first)
            .send(),
    );
    let second = second.await.unwrap().revision;

    let late = bert
        .publish(&key)
        .value("3")
        .if_unchanged_since(first)
        .send();
    let error = soon(late).await.unwrap_err();
    let Error::PublishConflict {
        since,
        revision,
        changed,
        by,
        in_doubt,
        ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!((*since, *in_doubt), (first, false));
    assert!(*revision >= second);
    assert_eq!(changed, &[format!("{key} at revision {second}")]);
    assert!(
        by.as_ref()
            .unwrap()
            .contains(&std::process::id().to_string())
    );
    assert_eq!(error.code(), "CONFLICT");

    soon(config.at_least(second)).await;
    let third = soon(config.publish().value("3").note("because").send()).await;
    let third = third.unwrap().revision;
    let publication = soon(anna.publication(&key, 0)).await.unwrap().unwrap();
    assert_eq!(
        (publication.revision, &publication.note[..]),
        (third, "because")
    );
    // Whatever the others did.
    let forced = soon(anna.publish(&key).value("4").send()).await.unwrap();
    assert!(forced.revision > third);
}

#[tokio::test]
async fn a_change_of_any_key_of_the_set_is_a_conflict_and_so_is_a_deletion() {
    let (hf, client) = (connect(shared()), client(shared()));
    let prefix = name("publish-set");
    let key = |key: &str| format!("{prefix}/{key}");
    let all = hf
        .publish(key(""))
        .entries([("a", "1"), ("b", "2"), ("c", "3")]);
    soon(all.send()).await.unwrap();
    let open = || hf.config_set(key("")).prefix().open();

    let config = soon(open()).await.unwrap();
    // It is meant for what was in force when it was begun.
    let publish = config.publish().put("a", "x").put("c", "y");
    client.put(key("b"), "elsewhere").await.unwrap();
    let error = soon(publish.send()).await.unwrap_err();
    assert!(error.to_string().contains(&key("b")), "{error}");
    // Nothing of it was done.
    assert_eq!(client.get(key("a")).await.unwrap().unwrap().value, "1");

    let config = soon(open()).await.unwrap();
    let publish = config.publish().put("a", "x");
    client.delete(key("b")).await.unwrap();
    let error = soon(publish.send()).await.unwrap_err();
    assert!(error.to_string().contains("deleted"), "{error}");

    // A deletion that was published is noticed by revision, too.
    let seen = soon(open()).await.unwrap().current().revision();
    soon(hf.publish(key("")).delete("c").send()).await.unwrap();
    let publish = hf.publish(key("")).put("a", "x").if_unchanged_since(seen);
    assert_eq!(soon(publish.send()).await.unwrap_err().code(), "CONFLICT");

    let config = soon(open()).await.unwrap();
    let done = soon(config.publish().put("a", "x").delete("b").send()).await;
    soon(config.at_least(done.unwrap().revision)).await;
    let names: Vec<_> = config.get().iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names, ["a"]);
}

#[tokio::test]
async fn reading_and_publishing_cost_one_call_each() {
    let relay = Relay::start(shared().address()).await;
    let hf = behind(&relay, &client(shared())).await;
    let (key, mut costs) = (name("publish-costs"), Costs::default());
    let published = soon(hf.publish(&key).value("1").send()).await.unwrap();
    costs.row("the first publication", 1, &relay);
    let config: Config<u32> = soon(hf.config(&key).open()).await.unwrap();
    costs.row("opening", 1, &relay);
    let guarded = hf
        .publish(&key)
        .value("2")
        .if_unchanged_since(published.revision);
    let second = soon(guarded.send()).await.unwrap().revision;
    costs.row("a guarded publication", 1, &relay);
    let mut config = config;
    while config.revision() < second {
        soon(config.changed()).await;
    }
    costs.row("taking it over", 0, &relay);
    soon(config.publish().value("3").send()).await.unwrap();
    costs.row("a publication of what was read", 1, &relay);
    soon(hf.publish(&key).value("4").send()).await.unwrap();
    costs.row("one whatever the others did", 2, &relay);
    soon(
        hf.publish(&key)
            .value("5")
            .if_unchanged_since(second)
            .send(),
    )
    .await
    .unwrap_err();
    costs.row("a conflict", 1, &relay);
    costs.check();
}

try_out!(publication, Publication);

/// Published, and then published over by somebody else: for good.
struct Publication {
    overwritten: bool,
}

impl Recipe for Publication {
    const STEM: &'static str = "publication";

    async fn set_up(world: &World) -> Self {
        let prefix = format!("{}/", world.name);
        let publish = world
            .other
            .publish(prefix)
            .entries([("a", "0"), ("b", "0")]);
        publish.send().await.unwrap();
        Self { overwritten: false }
    }

    async fn run(&mut self, hf: &Handfast, world: &World) -> Result<(), Error> {
        let prefix = format!("{}/", world.name);
        let config = hf.config_set(&prefix).prefix().open().await?;
        let mine = config.publish().entries([("a", "1"), ("b", "1")]);
        let mine = mine.send().await?;
        let record = world.other.publication(&prefix, 0).await.unwrap().unwrap();
        assert_eq!(record.revision, mine.revision);
        let theirs = world.other.publish(&prefix).put("a", "2").delete("b");
        theirs.send().await.unwrap();
        self.overwritten = true;
        Ok(())
    }

    async fn check(self, world: &World, _: &End) {
        let pairs = world.client.range(format!("{}/", world.name)).prefix();
        let pairs = pairs.await.unwrap().kvs;
        let values: Vec<_> = pairs.iter().map(|pair| &pair.value[..]).collect();
        match self.overwritten {
            true => assert_eq!(values, [b"2"]),
            // Together, or not at all.
            false => assert!(
                values == [b"2"] || (values.len() == 2 && values[0] == values[1]),
                "{values:?}"
            ),
        }
    }
}
