"""Routing: the right model for the task, inside a budget, learnt from the user's own outcomes."""

from plumbgraph.routing.budget import Limit, Payer
from plumbgraph.routing.call import Answer
from plumbgraph.routing.catalog import ModelCard
from plumbgraph.routing.chat import Route, RoutedChatModel
from plumbgraph.routing.choose import Aim
from plumbgraph.routing.feedback import JsonlOutcomes, OutcomeRow
from plumbgraph.routing.health import Breaker, MemoryHealth, RedisHealth
from plumbgraph.routing.journal import Entry, Journal
from plumbgraph.routing.predict import (
    EmbeddingPredictor,
    TextPredictor,
    load_text_model,
    save_text_model,
)
from plumbgraph.routing.prices import OwnPrices, Price
from plumbgraph.routing.router import CostRouter
from plumbgraph.routing.spending import Budget, Ladder
from plumbgraph.routing.values import Charge, Decision, Estimate, Request, ThreadView

__all__ = [
    "Aim",
    "Answer",
    "Breaker",
    "Budget",
    "Charge",
    "CostRouter",
    "Decision",
    "EmbeddingPredictor",
    "Entry",
    "Estimate",
    "Journal",
    "JsonlOutcomes",
    "Ladder",
    "Limit",
    "MemoryHealth",
    "ModelCard",
    "OutcomeRow",
    "OwnPrices",
    "Payer",
    "Price",
    "RedisHealth",
    "Request",
    "Route",
    "RoutedChatModel",
    "TextPredictor",
    "ThreadView",
    "load_text_model",
    "save_text_model",
]
