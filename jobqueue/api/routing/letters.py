"""The table of addresses: `/dlq`."""

from typing import Final

from jobqueue.access.scope import Scope
from jobqueue.api import query, request, view
from jobqueue.api.endpoint import letters
from jobqueue.api.route import PREFIX, STORE, Route

DEAD_LETTERS: Final = (
    Route(
        method="GET",
        path=f"{PREFIX}/dlq",
        endpoint=letters.ls,
        scope=Scope.DLQ_READ,
        summary="List dead letters",
        tag="dead letters",
        answer=view.LetterPage,
        query=query.LettersQuery,
        problems=STORE,
    ),
    Route(
        method="GET",
        path=f"{PREFIX}/dlq/groups",
        endpoint=letters.groups,
        scope=Scope.DLQ_READ,
        summary="Dead letters by task and error",
        tag="dead letters",
        answer=view.ErrorGroups,
        query=query.GroupsQuery,
        problems=STORE,
    ),
    Route(
        method="POST",
        path=f"{PREFIX}/dlq/retry",
        endpoint=letters.retry_many,
        scope=Scope.DLQ_WRITE,
        summary="Queue every dead letter of a filter again",
        tag="dead letters",
        answer=view.Done,
        body=request.LettersAction,
        audit="dlq.retry_many",
        problems=STORE,
    ),
    Route(
        method="POST",
        path=f"{PREFIX}/dlq/delete",
        endpoint=letters.delete_many,
        scope=Scope.DLQ_WRITE,
        summary="Delete every dead letter of a filter",
        tag="dead letters",
        answer=view.Done,
        body=request.LettersAction,
        audit="dlq.delete_many",
        problems=STORE,
    ),
    Route(
        method="GET",
        path=f"{PREFIX}/dlq/{{id}}",
        endpoint=letters.get,
        scope=Scope.DLQ_READ,
        summary="Show a dead letter",
        tag="dead letters",
        answer=view.Letter,
        problems=STORE,
    ),
    Route(
        method="DELETE",
        path=f"{PREFIX}/dlq/{{id}}",
        endpoint=letters.delete,
        scope=Scope.DLQ_WRITE,
        summary="Delete a dead letter",
        tag="dead letters",
        status=204,
        audit="dlq.delete",
        problems=("conflict", *STORE),
    ),
    Route(
        method="POST",
        path=f"{PREFIX}/dlq/{{id}}/retry",
        endpoint=letters.retry,
        scope=Scope.DLQ_WRITE,
        summary="Queue a dead letter again, edited or as it is",
        tag="dead letters",
        answer=view.Retried,
        body=request.Edit,
        body_optional=True,
        audit="dlq.retry",
        problems=("conflict", "invalid-job", *STORE),
    ),
)
