"""Journeys through notebooks in JupyterLab: good and bad values, two presses, stop, reload, reopen."""

import json
import os
import re
import time

import pandas as pd
import pytest

# By notebook: a field, a bad value, what is said of it, a good value; a menu and the place of a choice in it
EXPLORERS = {
    "16": ("rules", "ba is ab", "line 1", "a -> b", "program", 1),
    "17": ("alphabet", "784747978", "not a number from", "20", "by", 1),
    "19": ("replace", "c", "pattern", "one", "model", 0),
    "22": ("or your own", "qwertz", "qwertz", "please flip this in the <sep> format : ABCD", "example", 1),
}


def test_a_rule_is_tried_saved_and_found_again(notebook, pictures):
    notebook.open("00")
    notebook.run_all()
    page, expect = notebook.page, notebook.expect
    field = {name: notebook.explorer.get_by_label(name, exact=True) for name in ("replace", "by", "in")}
    answered = notebook.answers()
    field["replace"].fill("on")
    assert "pattern" in notebook.refuses(answered)
    pictures(page, "refused")
    field["replace"].fill("ONE")
    answered = notebook.answers(answered)
    field["in"].fill("twoonthree")
    notebook.answers(answered)
    pictures(page, "answered")
    field["replace"].fill("t")
    expect(notebook.alert).to_have_count(1)
    notebook.explorer.get_by_role("button", name="another example").dblclick()
    expect(field["replace"]).to_have_value("zzz")
    expect(field["in"]).to_have_value("nozedshere")
    expect(notebook.alert).to_have_count(0)
    expect(notebook.answer).to_contain_text("does not occur")
    notebook.untroubled()
    notebook.save()
    notebook.shut_down()
    notebook.open("00")
    still = page.locator(".unseen-still")
    expect(still.first).to_be_visible()
    beside = page.locator(".jp-OutputArea:visible", has=still)
    expect(beside.get_by_text("✓ right").first).to_be_visible()
    expect(page.get_by_text("Loading widget").locator("visible=true")).to_have_count(0)
    still.first.scroll_into_view_if_needed()
    pictures(page, "reopened")


def step_in(page, sentence):
    """Wait until live training says a sentence, a regular expression; gives the step in it, its group."""
    found = "said => document.querySelector('.unseen-live')?.innerText.match(new RegExp(said, 'm'))?.[1]"
    return int(page.wait_for_function(found, arg=sentence).json_value().replace(",", ""))


def test_training_is_watched_stopped_and_resumed_after_a_reload(notebook, runs_of_all, pictures):
    notebook.open("04")
    notebook.run_all()
    page, expect, live = notebook.page, notebook.expect, notebook.explorer
    train, stop = (live.get_by_role("button", name=re.compile(f"{name}$")) for name in ("Train", "Stop"))
    expect(stop).to_be_disabled()
    live.get_by_label("beside it").select_option("nothing else")
    live.get_by_label("seed").fill("7")  # a run that nobody has
    live.get_by_label("seed").press("Tab")
    expect(live.get_by_text("not trained yet").filter(visible=True)).to_have_count(1)
    bare = live.locator("img:visible").get_attribute("src")
    train.dblclick()
    expect(train).to_be_disabled()
    expect(live.get_by_label("seed")).to_be_disabled()
    expect(live.get_by_text("Answers to ten unseen instructions")).to_be_visible()
    hidden = "each => each.scrollWidth > each.clientWidth"
    assert not live.locator("div:has(> table):visible").evaluate(hidden), "answers are cut"
    expect(live.locator("img:visible")).not_to_have_attribute("src", bare)
    pictures(page, "training")
    assert step_in(page, r"^step ([\d,]+) of") >= 50  # the first row of the curve
    began, busy = time.monotonic(), max(1, os.getloadavg()[0] / os.cpu_count())
    stop.click()
    expect(live.get_by_text(re.compile("stopping|stopped at")).first).to_be_visible()
    assert time.monotonic() - began < busy
    reached = step_in(page, r"^stopped at step ([\d,]+); Train resumes from here")
    notebook.save()
    page.reload()
    notebook.ready()
    live.scroll_into_view_if_needed()
    assert step_in(page, r"^stopped at step ([\d,]+)") == reached
    expect(live.locator("img:visible")).to_have_count(1)
    pictures(page, "stopped")
    train.dblclick()
    assert step_in(page, r"^step ([\d,]+) of .* left") >= reached
    stop.click()
    assert step_in(page, r"^stopped at step ([\d,]+)") >= reached
    (history,) = runs_of_all.glob("store/*/progress.csv")  # of this run alone: nothing else was trained
    steps = pd.read_csv(history)["step"].tolist()
    assert steps == [50 * (i + 1) for i in range(len(steps))]
    expect(notebook.alert).to_have_count(0)
    notebook.untroubled()


@pytest.mark.parametrize("number", EXPLORERS)
def test_no_answer_stands_under_a_value_that_it_does_not_answer(notebook, number, pictures):
    label, bad, said, good, menu, choice = EXPLORERS[number]
    notebook.open(number)
    notebook.run_all()
    field, answered = notebook.explorer.get_by_label(label, exact=True), notebook.answers()
    field.fill(bad)
    field.press("Tab")
    assert said in notebook.refuses(answered)
    pictures(notebook.page, "refused")
    field.fill(good)
    field.press("Tab")
    answered = notebook.answers(answered)
    notebook.explorer.get_by_label(menu, exact=True).select_option(index=choice)
    notebook.answers(answered)
    pictures(notebook.page, "chosen")
    notebook.untroubled()


def test_an_exercise_is_answered_and_leads_to_the_next_notebook(notebook, runs_of_all, pictures):
    notebook.open("01")
    notebook.run_all()
    page, expect = notebook.page, notebook.expect
    exercise = notebook.cells.nth(["check.leftmost(" in each for each in notebook.sources()].index(True))
    said = exercise.locator(".jp-OutputArea")
    expect(said).to_contain_text("Not answered yet")
    for answer, verdict in (("xcbac", "Not yet. You replaced every match"), ("xcbaaba", "✓ Right.")):
        exercise.locator(".cm-content").click()
        page.keyboard.press("Control+a")
        page.keyboard.insert_text(f'check.leftmost("{answer}")')
        page.keyboard.press("Control+Enter")
        expect(said).to_contain_text(verdict)
    expect(said).to_contain_text("1 of")
    pictures(page, "right")
    kept = json.loads((runs_of_all / "answers.json").read_text())
    assert kept == {"leftmost": {"answer": "xcbaaba", "right": True}}
    said.get_by_role("link", name="02").click()
    expect(page.locator(".lm-DockPanel .lm-TabBar-tab.lm-mod-current")).to_contain_text("02_instruction_sets")
    notebook.untroubled()
