"""What an application's owner does over the Service API: annotations, the job that makes them, end users.

None of these routes has a user. An unknown annotation or end user is a 404, an unknown job a 400 (Dify 1.14.1).
"""

from .http import Reply
from .service import ApiError, json_body, json_reply, not_found, route
from .state import new_id


def annotation_of(instance, request):
    found = instance.annotations.get(request.path_args[0])
    if not found:
        raise not_found(request, "Annotation not found")
    return found


@route("GET", "/v1/apps/annotations")
def annotations(instance, _request):
    items = list(instance.annotations.values())
    return json_reply({"data": items, "has_more": False, "limit": 20, "total": len(items), "page": 1})


@route("POST", "/v1/apps/annotations")
def annotation_make(instance, request):
    body = json_body(request)
    made = {"id": new_id(), "question": body.get("question"), "answer": body.get("answer"), "hit_count": 0}
    instance.annotations[made["id"]] = made
    return json_reply(made, 201)


@route("PUT", "/v1/apps/annotations/{}")
def annotation_change(instance, request):
    found = annotation_of(instance, request)
    found.update({key: json_body(request).get(key) for key in ("question", "answer")})
    return json_reply(found)


@route("DELETE", "/v1/apps/annotations/{}")
def annotation_delete(instance, request):
    del instance.annotations[annotation_of(instance, request)["id"]]
    return Reply(204, [("Content-Type", "application/json")])


@route("POST", "/v1/apps/annotation-reply/{}")
def annotation_reply(instance, request):
    job = new_id()
    instance.jobs.add((request.path_args[0], job))
    return json_reply({"job_id": job, "job_status": "waiting"})


@route("GET", "/v1/apps/annotation-reply/{}/status/{}")
def annotation_reply_status(instance, request):
    action, job = request.path_args
    if (action, job) not in instance.jobs:
        raise ApiError(400, "invalid_param", "The job does not exist.")
    return json_reply({"job_id": job, "job_status": "completed", "error_msg": ""})


@route("GET", "/v1/end-users/{}")
def end_user(instance, request):
    if request.path_args[0] not in instance.end_users:
        raise ApiError(404, "end_user_not_found", "End user not found.")
    return json_reply({"id": request.path_args[0], "type": "service_api"})
