"""All stories, in the order in which they are told."""

from __future__ import annotations

from typing import Final

from tests.golden import (
    stories_of_graphs,
    stories_of_keeping,
    stories_of_people,
    stories_of_policies,
    stories_of_runs,
    stories_of_steps,
    stories_of_terms,
    stories_of_trouble,
    stories_of_values,
    stories_of_versions,
)
from tests.golden.story import Story

__all__ = ["STORIES", "story_of"]

STORIES: Final[tuple[Story, ...]] = (
    *stories_of_values.STORIES,
    *stories_of_runs.STORIES,
    *stories_of_people.STORIES,
    *stories_of_policies.STORIES,
    *stories_of_terms.STORIES,
    *stories_of_versions.STORIES,
    *stories_of_trouble.STORIES,
    *stories_of_keeping.STORIES,
    *stories_of_steps.STORIES,
    *stories_of_graphs.STORIES,
)


def story_of(thread: str) -> Story:
    """The story of a thread."""
    return next(story for story in STORIES if story.thread == thread)
