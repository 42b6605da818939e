"""The endpoint's other interfaces: the operators' own, and those that the facility leaves off. Pure data."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from s3_requests import Request

# Of the operators' interface: method and target. `user` is an S3 user who is there for it, and that user's bucket.
ADMIN = {
    "a user with keys": ("GET", "user?uid={user}"),
    "a user by the key": ("GET", "user?access-key={access}"),
    "all users": ("GET", "metadata/user"),
    "a user's limits": ("GET", "user?quota&uid={user}&quota-type=user"),
    "a user's record": ("GET", "metadata/user?key={user}"),
    "all buckets": ("GET", "bucket"),
    "a bucket": ("GET", "bucket?bucket={user}&stats=true"),
    "a bucket's policy": ("GET", "bucket?policy&bucket={user}"),
    "a bucket's index": ("GET", "bucket?index&bucket={user}"),
    "a bucket's record": ("GET", "metadata/bucket?key={user}"),
    "usage": ("GET", "usage?uid={user}"),
    "the cluster": ("GET", "info"),
    "the zone": ("GET", "config?type=zone"),
    "the realms": ("GET", "realm?list"),
    "the log": ("GET", "log?type=metadata"),
    "limits of rates": ("GET", "ratelimit?ratelimit-scope=user&uid={user}"),
    "make a user": ("PUT", "user?uid={user}-new&display-name=new"),
    "change a user": ("POST", "user?uid={user}&max-buckets=7"),
    "give rights": ("PUT", "user?caps&uid={user}&user-caps=usage%3Dread"),
    "take rights": ("DELETE", "user?caps&uid={user}&user-caps=usage%3Dread"),
    "make a key": ("PUT", "user?key&uid={user}&access-key={another key}&secret-key=known"),
    "take a key": ("DELETE", "user?key&access-key={another key}&uid={user}"),
    "make a subuser": ("PUT", "user?subuser&uid={user}&subuser={user}%3Asub&access=full"),
    "raise a limit": ("PUT", "user?quota&uid={user}&quota-type=user&max-objects=-1&enabled=true"),
    "lower a rate": ("POST", "ratelimit?ratelimit-scope=user&uid={user}&enabled=false"),
    "an account": ("GET", "account?id=RGW11111111111111111"),
    "give a bucket away": ("PUT", "bucket?bucket={user}&uid={user}"),
    "delete a bucket": ("DELETE", "bucket?bucket={user}"),
    "delete a user": ("DELETE", "user?uid={user}-new"),
}
FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
ROLE = "arn:aws:iam:::role/any"


REPLICATION = (
    "<ReplicationConfiguration><Role></Role><Rule><ID>all</ID><Priority>1</Priority><Status>Enabled</Status><Filter>"
    "<Prefix></Prefix></Filter><Destination><Bucket>alice</Bucket></Destination></Rule></ReplicationConfiguration>"
)
NO_METHOD = (405, "MethodNotAllowed")
NO_BUCKET = (404, "NoSuchBucket")  # it is taken for a bucket's name


@dataclass(frozen=True)
class Off:
    """A request that is answered to nobody: the service that its signature names, or "" where it has none."""

    service: str
    request: Request
    said: tuple[int, str] = NO_METHOD


def _action(service: str, action: str, **arguments: str) -> Off:
    body = urlencode({"Action": action, **{name.replace("_", "."): value for name, value in arguments.items()}})
    return Off(service, Request("POST", "/", FORM, body.encode()))


def _topic(endpoint: str, service: str = "sns") -> Off:
    """A topic at which the gateway itself would knock."""
    first = {"Attributes_entry_1_key": "push-endpoint", "Attributes_entry_1_value": endpoint}
    return _action(service, "CreateTopic", Name="attack", **first)


def _swift(target: str, **headers: str) -> Off:
    return Off("", Request("GET", target).with_headers(**headers), NO_BUCKET)


OFF = {
    "IAM, users": _action("iam", "ListUsers"),
    "IAM, oneself": _action("iam", "GetUser"),
    "IAM, alice": _action("iam", "GetUser", UserName="alice"),
    "IAM, a new user": _action("iam", "CreateUser", UserName="attack", Path="/"),
    "IAM, a key of alice's": _action("iam", "CreateAccessKey", UserName="alice"),
    "IAM, a key of one's own": _action("iam", "CreateAccessKey"),
    "IAM, alice's keys": _action("iam", "ListAccessKeys", UserName="alice"),
    "IAM, a policy for alice": _action("iam", "PutUserPolicy", UserName="alice", PolicyName="p", PolicyDocument="{}"),
    "IAM, a role": _action("iam", "CreateRole", RoleName="attack", AssumeRolePolicyDocument="{}"),
    "IAM, roles": _action("iam", "ListRoles"),
    "IAM, a group": _action("iam", "CreateGroup", GroupName="attack"),
    "IAM, who else may log in": _action("iam", "CreateOpenIDConnectProvider", Url="http://127.0.0.1"),
    "IAM, the account": _action("iam", "GetAccountSummary"),
    "STS, a role": _action("sts", "AssumeRole", RoleArn=ROLE, RoleSessionName="attack"),
    "STS, a role, signed for S3": _action("s3", "AssumeRole", RoleArn=ROLE, RoleSessionName="attack"),
    "STS, a session": _action("sts", "GetSessionToken"),
    "STS, oneself": _action("sts", "GetCallerIdentity"),
    "STS, by another site": _action(
        "", "AssumeRoleWithWebIdentity", RoleArn=ROLE, RoleSessionName="attack", WebIdentityToken="e30.e30.e30"
    ),
    "topics": _action("sns", "ListTopics"),
    "a topic that calls the hub": _topic("http://127.0.0.1:8081/hub/api"),
    "a topic that calls the hub, signed for S3": _topic("http://127.0.0.1:8081/hub/api", "s3"),
    "a topic that calls a cloud's metadata": _topic("http://169.254.169.254/latest"),
    "a topic that calls a broker": _topic("amqp://127.0.0.1:5672"),
    "a topic that calls another broker": _topic("kafka://127.0.0.1:9092"),
    "a topic in the query": Off(
        "sns", Request("POST", "/?Action=CreateTopic&Name=attack&push-endpoint=http%3A%2F%2Fx")
    ),
    # Without the interface this is the creation of a bucket, with a body that is none.
    "notifications": Off(
        "s3", Request("PUT", "/{own}?notification", {}, b"<NotificationConfiguration/>"), (400, "InvalidArgument")
    ),
    "replication to her bucket": Off("s3", Request("PUT", "/{own}?replication", {}, REPLICATION.encode())),
    "a web site": Off("s3", Request("PUT", "/{own}?website", {}, b"<WebsiteConfiguration/>")),
    "a web site that is there": Off("s3", Request("GET", "/{own}?website")),
    "a web site by its name": _swift("/{key}", host="{bucket}.s3-website.{host}"),
    "Swift": _swift("/swift/v1"),
    "Swift, a bucket": _swift("/swift/v1/{bucket}", X_Auth_Token="AUTH_rgwtk"),
    "Swift, an object": _swift("/swift/v1/AUTH_alice/{bucket}/{key}"),
    "Swift, what it can": _swift("/swift/info"),
    "Swift, a log-in": _swift("/auth/v1.0", X_Auth_User="alice:swift", X_Auth_Key="guessed"),
    "Swift, a newer log-in": _swift("/auth/v1", X_Storage_User="alice", X_Storage_Pass="guessed"),
    "figures": _swift("/metrics"),
}
